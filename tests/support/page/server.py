"""Serve the page and the answers of synthetic stores as the viewer does: under a token, with its headers, on the loopback."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from urllib.parse import parse_qs, urlsplit

from pipeline.view.page import files
from tests.support.page import answers
from tests.support.page.drawn import png
from tests.support.page.store import RULES

TOKEN = "token-of-the-test"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Pretended:
    """Answer requests for stores; `asked` lists the queries for rows, `changes` replaces values of the first store."""

    def __init__(self, stores, tables=None):
        self.stores = {store.id: store for store in stores}
        self.databases = {store.id: answers.connected((tables or {}).get(store.id, store.rows)) for store in stores}
        self.contents = [store.content for store in stores]
        self.page, self.revision, self.asked, self.changes, self.lock = files(), 1, [], {}, threading.Lock()

    def overview(self):
        first, *rest = self.contents
        return head(self.revision, True) | {"stores": [first | self.changes, *rest]}

    def get(self, path, query):
        """The content of a path below the token: plain values, bytes, or None for 304."""
        if path == "api/stores.json":
            return None if query.get("revision") == str(self.revision) else self.overview()
        if path == "api/compare.json":
            sides = (self.stores[query["first"]], query["first_cell"], self.stores[query["second"]], query["second_cell"])
            return answers.compare(*sides, query["rule"], query["top"])
        store = self.stores[query["store"]]
        if path == "api/image.json":
            return answers.image(store, self.databases[store.id].cursor(), query["shard"], query["key"])
        if path == "api/draws.json":
            return answers.draws(store, self.databases[store.id].cursor(), query["cell"], query["shard"], query["key"])
        if path == "api/picture.png":
            return png(query["key"], query["cell"], query["what"])
        assert path == "api/errors.json"
        return answers.errors(store, query["cell"], query["rule"], query["top"])

    def rows(self, asked):
        with self.lock:
            self.asked.append(asked)
        return answers.answer(self.databases[asked["store"]].cursor(), asked)


def head(revision, live):
    """What the page is told besides the stores."""
    return {"live": live, "version": "0.1.0", "rules": list(RULES), "rule_texts": RULES, "revision": revision}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, pretended):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pretended = pretended


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self):
        at = urlsplit(self.path)
        path = at.path.removeprefix(f"/{TOKEN}/") or "index.html"
        held = self.server.pretended
        if not at.path.startswith(f"/{TOKEN}/"):
            return self._send(404, b"", "text/plain")
        if path in held.page:
            return self._send(200, held.page[path], guess_type(path)[0])
        self._answer(
            lambda: held.get(path, {name: values[0] for name, values in parse_qs(at.query, keep_blank_values=True).items()})
        )

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(lambda: self.server.pretended.rows(asked))

    def _answer(self, made):
        try:
            found = made()
        except Exception as error:
            return self._send(400, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode(), "application/json")
        if found is None:
            return self._send(304, b"", "application/json")
        kind = "image/png" if isinstance(found, bytes) else "application/json"
        self._send(200, found if isinstance(found, bytes) else json.dumps(found, allow_nan=False).encode(), kind)

    def _send(self, status, body, kind):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": len(body), "Cache-Control": "no-store",
                            "Content-Security-Policy": POLICY,
                            "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}.items():  # fmt: skip
            self.send_header(name, str(value))
        self.end_headers()
        if status != 304:
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def served(pretended):
    """Serve until the block ends; gives the address of the page."""
    server = _Server(pretended)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{TOKEN}/"
    finally:
        server.shutdown()
        server.server_close()
