"""Answer what the page asks over HTTP: its files, and JSON about the stores. Nothing writes."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipeline import provenance
from pipeline.errors import BadInput, StorageError
from pipeline.scoring.rules import RULES
from pipeline.view import queries
from pipeline.view.guard import BODY, App, Guard
from pipeline.view.watched import Watched

PAGE = Path(__file__).parent / "page"
"""The files of the page."""


class Stores:
    """Hold the stores that are watched, by the name that the page has for them."""

    def __init__(self, watched: Sequence[Watched]) -> None:
        self.all = {store.id: store for store in watched}

    def __getitem__(self, id: str) -> Watched:
        """Return a store. Raises BadInput for one that is not watched."""
        if id not in self.all:
            raise BadInput(f"store {id[:100]!r}: expected one of {', '.join(self.all)}")
        return self.all[id]

    @property
    def revision(self) -> int:
        """Return a number that grows with every change of any store."""
        return sum(store.revision for store in self.all.values())

    def content(self) -> dict[str, Any]:
        """Return what api/stores.json says."""
        return head(self.revision, live=True) | {"stores": [store.content for store in self.all.values()]}


def head(revision: int, live: bool) -> dict[str, Any]:
    """Return what the page is told besides the stores."""
    rules = RULES.working()
    texts = {name: rule.about for name, rule in rules.items()}
    return {"live": live, "version": provenance.commit(), "rules": list(rules), "rule_texts": texts, "revision": revision}


def app(stores: Stores, token: str, page: Path = PAGE) -> App:
    """Return the application that serves the page of these stores, whose files are in `page`, under /`token`/."""

    def told(request: Request) -> Any:
        for store in stores.all.values():
            store.asked()
        asked = request.query_params.get("revision", "")
        return None if asked == str(stores.revision) else stores.content()

    async def rows(request: Request) -> Response:
        content = await _body(request)

        def answer() -> Any:
            query = queries.parsed(content, list(RULES.working()))
            return stores[query.store].database.answer(query)

        return await _answered(answer)

    def get(path: str, answer: Callable[[Request], Any]) -> Route:
        async def endpoint(request: Request) -> Response:
            return await _answered(lambda: answer(request))

        return Route(path, endpoint, methods=["GET"])

    inside = [
        get("/api/stores.json", told),
        Route("/api/rows.json", rows, methods=["POST"]),
        Route("/api/{rest:path}", _nothing),
        Mount("/", StaticFiles(directory=page, html=True, check_dir=False)),
    ]
    handlers: Mapping[Any, Any] = {HTTPException: _refused}
    return Guard(Starlette(routes=[Mount(f"/{token}", routes=inside)], exception_handlers=handlers), token)


async def _body(request: Request) -> Any:
    """Return the JSON that a request holds. Raises HTTPException for too much of it, or for something else."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > BODY:
            raise HTTPException(413, f"a request holds at most {BODY:,} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise HTTPException(400, "expected JSON") from None


async def _answered(answer: Callable[[], Any]) -> Response:
    """Return an answer as JSON, computed in a thread: 304 for None, 400 with one line for what cannot be asked."""
    try:
        found = await run_in_threadpool(answer)
    except (BadInput, StorageError) as error:
        return as_json({"error": str(error)}, 400)
    return Response(status_code=304) if found is None else as_json(found)


def as_json(content: Any, status: int = 200) -> Response:
    """Return plain values as an answer."""
    return Response(json.dumps(content, allow_nan=False), status, media_type="application/json")


async def _nothing(request: Request) -> Response:
    return as_json({"error": "there is no such question: see docs/view.md"}, 404)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return as_json({"error": error.detail}, error.status_code)
