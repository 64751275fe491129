"""Let in only who was given the page's address, from this machine: other pages of a browser can neither read nor ask anything.

- the address holds a secret token; any other path is one and the same 404
- the Host header must name the loopback: a foreign name that resolves to it (DNS rebinding) is refused
- an answer may not be framed, sniffed, kept, or read by other origins, and its page may run and fetch only what is its own
"""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

HOSTS = {"127.0.0.1", "localhost", "[::1]"}
"""Names of this machine; the port is free, as a tunnel may have another one."""

BODY = 1 << 20
"""The most bytes of a request's body."""

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Wrap an application that lives under /TOKEN/."""

    def __init__(self, app: App, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http":
            return
        refused = self._refused(scope)
        if refused:
            await _answer(send, *refused)
            return
        await self._app(scope, receive, _with_headers(send))

    def _refused(self, scope: Message) -> tuple[int, str] | None:
        """Return why a request is refused, as status and text; None if it is not."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if (host if host.endswith("]") else host.rpartition(":")[0] or host) not in HOSTS:
            return 403, "this page is for its own machine: open it as 127.0.0.1 or localhost"
        path = scope.get("raw_path") or scope["path"].encode()
        token = path.split(b"?")[0].split(b"/")[1:2]
        if not token or not hmac.compare_digest(token[0], self._token):
            return 404, "open the address that barrage view printed"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 12 or int(length) > BODY:
            return 413, f"a request holds at most {BODY:,} bytes"
        return None


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name, value) for name, value in message["headers"] if name.decode().lower() not in HEADERS]
            message = dict(message) | {"headers": [*own, *_headers()]}
        await send(message)

    return sent


def _headers() -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in HEADERS.items()]


async def _answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_headers()]})
    await send({"type": "http.response.body", "body": body})
