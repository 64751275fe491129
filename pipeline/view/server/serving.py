"""Start the server of the page of some stores, on this machine alone."""

import secrets
import socket
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import uvicorn

from pipeline.errors import BadInput
from pipeline.scoring.rules import RULES
from pipeline.view.server.app import Stores, app
from pipeline.view.watched import Watched

HOST = "127.0.0.1"


def serve(urls: Sequence[str], port: int, browser: bool, report: Callable[[str], None]) -> None:
    """Watch stores and serve their page until Ctrl-C; `report` gets the page's address once it can be opened.

    port  0: any that is free
    Raises BadInput for a port that is taken.
    """
    from pipeline.view.page import files

    rules, token = list(RULES.working()), secrets.token_urlsafe(24)
    listening = bound(port)
    stores = Stores([Watched(str(place), url, rules) for place, url in enumerate(urls)])
    for store in stores.all.values():
        store.start()
    address = f"http://{HOST}:{listening.getsockname()[1]}/{token}/"
    report(address)
    if browser:
        webbrowser.open(address)
    with suppress(KeyboardInterrupt):
        server(stores, token, files()).run(sockets=[listening])
    for store in stores.all.values():
        store.stop()


def server(stores: Stores, token: str, page: Mapping[str, bytes]) -> uvicorn.Server:
    """Return the server of a page, given its files by name, that shows these stores."""
    settings = uvicorn.Config(
        app(stores, token, page),
        log_level="error",
        access_log=False,
        lifespan="off",
        ws="none",
        http="h11",
        loop="asyncio",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=100,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(settings)


def bound(port: int) -> socket.socket:
    """Return a socket that listens on a port of the loopback."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()  # from here on, a browser that opens the address waits and is not refused
    except OSError as error:
        listening.close()
        raise BadInput(f"--port {port} cannot be used ({error.strerror}): give another one, or none for a free one") from None
    return listening
