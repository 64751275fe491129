"""Answer what the page asks over HTTP: its files, and JSON about the stores. Nothing writes."""

import json
from collections.abc import Callable, Mapping, Sequence
from mimetypes import guess_type
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from pipeline import provenance
from pipeline.errors import BadInput, StorageError, shortened
from pipeline.extras import remedy
from pipeline.scoring.rules import RULES
from pipeline.view import images, neighbours, overview
from pipeline.view.rows import queries
from pipeline.view.rows.columns import TOPS
from pipeline.view.server.guard import BODY, App, Guard
from pipeline.view.watched import Watched


class Asked:
    """Hold the parameters of a question."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def __getitem__(self, name: str) -> str:
        """Return a parameter. Raises BadInput for one that is missing."""
        if name not in self._given:
            raise BadInput(f"the parameter {name} is missing: see docs/view.md")
        return self._given[name]

    @property
    def revision(self) -> str:
        """Return the revision that the page has; empty where it has none."""
        return self._given.get("revision", "")

    @property
    def rule(self) -> tuple[str, int]:
        """Return the decision rule and the top; 0 for one that there is not."""
        top = self._given.get("top", "1")
        return self._given.get("rule", "single"), int(top) if top in map(str, TOPS) else 0


class Stores:
    """Hold the stores that are watched, by the name that the page has for them."""

    def __init__(self, watched: Sequence[Watched]) -> None:
        self.all = {store.id: store for store in watched}
        self.answers = neighbours.Answers()

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
    """Return what the page is given besides the stores."""
    rules = RULES.working()
    texts = {name: rule.about for name, rule in rules.items()}
    return {"live": live, "version": provenance.commit(), "rules": list(rules), "rule_texts": texts, "revision": revision}


def app(stores: Stores, token: str, page: Mapping[str, bytes]) -> App:
    """Return the application that serves a page, given its files by name, and answers its questions, under /`token`/."""

    async def rows(request: Request) -> Response:
        content = await _body(request)

        def answer() -> Any:
            query = queries.parsed(content, list(RULES.working()))
            return stores[query.store].database.answer(query)

        return await _answered(answer)

    inside = [
        *(_get(name, stores, answer) for name, answer in ANSWERS.items()),
        Route("/api/rows.json", rows, methods=["POST"]),
        Route("/api/{rest:path}", _nothing),
        Route("/{name:path}", lambda request: _file(page, request.path_params["name"]), methods=["GET"]),
    ]
    handlers: Mapping[Any, Any] = {HTTPException: _refused}
    return Guard(Starlette(routes=[Mount(f"/{token}", routes=inside)], exception_handlers=handlers), token)


def _overview(stores: Stores, asked: Asked) -> Any:
    for store in stores.all.values():
        store.asked()
    return None if asked.revision == str(stores.revision) else stores.content()


def _image(stores: Stores, asked: Asked) -> Any:
    return images.image(stores[asked["store"]], asked["shard"], asked["key"])


def _draws(stores: Stores, asked: Asked) -> Any:
    return neighbours.draws(stores[asked["store"]], asked["cell"], asked["shard"], asked["key"])


def _picture(stores: Stores, asked: Asked) -> Response:
    names = (asked["cell"], asked["shard"], asked["key"])
    return Response(neighbours.picture(stores[asked["store"]], *names, asked["what"]), media_type="image/png")


def _compared(stores: Stores, asked: Asked) -> Any:
    first, second = stores[asked["first"]], stores[asked["second"]]
    cells, (rule, top) = (asked["first_cell"], asked["second_cell"]), asked.rule
    question = ("compare", first.id, first.reading.version, second.id, second.reading.version, *cells, rule, top)
    return stores.answers.of(question, lambda: neighbours.compared(first, cells[0], second, cells[1], rule, top))


def _errors(stores: Stores, asked: Asked) -> Any:
    store, cell, (rule, top) = stores[asked["store"]], asked["cell"], asked.rule
    question = ("errors", store.id, store.reading.version, cell, rule, top)
    return stores.answers.of(question, lambda: neighbours.errors(store, cell, rule, top))


ANSWERS: dict[str, Callable[[Stores, Asked], Any]] = {
    "stores.json": _overview,
    "image.json": _image,
    "draws.json": _draws,
    "picture.png": _picture,
    "compare.json": _compared,
    "errors.json": _errors,
}
"""What answers each question, given its parameters: plain values, None where nothing changed, or a whole response."""

MAY_LACK = {"draws.json", "picture.png"}
"""The questions whose answer may not exist: 404, where others say 400."""


def _get(name: str, stores: Stores, answer: Callable[[Stores, Asked], Any]) -> Route:
    """Return the route of a question without a body."""

    async def endpoint(request: Request) -> Response:
        asked = Asked(request.query_params)
        return await _answered(lambda: answer(stores, asked), 404 if name in MAY_LACK else 400)

    return Route(f"/api/{name}", endpoint, methods=["GET"])


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


async def _answered(answer: Callable[[], Any], refused: int = 400) -> Response:
    """Return an answer as JSON, computed in a thread: 304 for None, `refused` with one line for what there is not."""
    try:
        found = await run_in_threadpool(answer)
    except (BadInput, StorageError) as error:
        return as_json({"error": str(error)}, refused)
    except ModuleNotFoundError as error:
        return as_json({"error": remedy(error) or f"{error.name} is not installed"}, 501)
    except Exception as error:  # a hostile store may raise anything; no text of it reaches the terminal
        return as_json({"error": f"this cannot be answered: {type(error).__name__}: {shortened(str(error), 500)}"}, 500)
    if isinstance(found, Response):
        return found
    return Response(status_code=304) if found is None else as_json(found)


def as_json(content: Any, status: int = 200) -> Response:
    """Return plain values as an answer."""
    return Response(json.dumps(overview.plain(content), allow_nan=False), status, media_type="application/json")


def _file(page: Mapping[str, bytes], name: str) -> Response:
    """Return a file of the page, which are all in memory: no name leads to another."""
    name = name or "index.html"
    if name not in page:
        return as_json({"error": "the page has no such file"}, 404)
    return Response(page[name], media_type=guess_type(name)[0] or "application/octet-stream")


async def _nothing(request: Request) -> Response:
    return as_json({"error": "there is no such question: see docs/view.md"}, 404)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return as_json({"error": error.detail}, error.status_code)
