"""Stores that are watched as the viewer does it, and a server of their page to ask."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass

from pipeline.scoring.rules import RULES
from pipeline.view.server.app import Stores
from pipeline.view.watched import Watched

TOKEN = "secret-of-the-address"
PAGE = {"index.html": b"<!doctype html><title>page</title>", "scripts/view.js": b"1;"}


def watched(url, refreshed=True):
    """A store that is read once, in this thread."""
    store = Watched("0", str(url), list(RULES.working()))
    if refreshed:
        store.refresh()
    return store


@dataclass
class Server:
    """A running server of some stores."""

    stores: Stores
    port: int

    def ask(self, path, body=None, headers=(), token=TOKEN, method=None):
        """Returns the status, the headers and the body; JSON is parsed."""
        address = f"http://127.0.0.1:{self.port}/{token}{'/' if token else ''}{path}"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(address, data, dict(headers), method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return _read(answer)
        except urllib.error.HTTPError as answer:
            return _read(answer)


def _read(answer):
    data = answer.read()
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    return answer.status, answer.headers, json.loads(data) if is_json else data
