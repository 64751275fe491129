"""An S3 server in a process of its own, and a proxy in front of it that answers as badly as it is told to."""

import http.client
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_SERVER = """
import os, sys
os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = "5"  # listings of few pages are listings of many
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()  # until the parent closes it, or dies
"""

SECRET = "s3cret-of-the-tests"
"""The secret key that tests sign with: no file, log or message may hold it."""


@contextmanager
def server():
    """The port of an empty S3 server; its listings have pages of 5."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(timeout=20)


@dataclass(frozen=True)
class Request:
    """What the proxy heard, and the bytes that it answered."""

    method: str
    path: str
    headers: dict[str, str]
    answered: list[int] = field(default_factory=list)


def _refusal(status, code):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>told to</Message></Error>".encode()
    head = f"HTTP/1.1 {status} Told\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close"
    return f"{head}\r\n\r\n".encode() + body


ANSWERS = {
    "500": _refusal(500, "InternalError"),
    "503": _refusal(503, "SlowDown"),
    "409": _refusal(409, "ConditionalRequestConflict"),
    "403": _refusal(403, "AccessDenied"),
    "507": _refusal(507, "InsufficientStorage"),
}
"""Faults that are answers: the server never hears of the request."""


class Proxy:
    """Hands requests on to a server, with what `fault` says of each:

    one of ANSWERS; "slow": `delay` seconds late; "half": the answer breaks off in the middle; "lost": the request never reaches
    the server; "deaf": the condition of a put is dropped; "unanswered": done by the server, but nobody hears of it; None: well.
    """

    def __init__(self, port):
        self._upstream, self.fault, self.heard, self.delay = port, lambda request: None, [], 0.5
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, suppress(OSError):
            head, body = _message(client)
            if not head:
                return
            first, *lines = head.decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ", 2)
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines if line)}
            fault = self.fault(request := Request(method, path, headers))
            self.heard.append((request, fault))
            if fault in ANSWERS:
                client.sendall(ANSWERS[fault])
            elif fault != "lost":
                answer = self._forward(head, body, fault)
                request.answered.append(len(_body(answer)))
                client.sendall(answer if fault != "half" else answer[: len(answer) - max(1, len(_body(answer)) // 2)])

    def _forward(self, head, body, fault):
        dropped = (b"connection:", b"if-none-match:") if fault == "deaf" else (b"connection:",)
        kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(dropped)]
        if fault == "slow":
            time.sleep(self.delay)
        with socket.create_connection(("127.0.0.1", self._upstream)) as server:
            server.sendall(b"\r\n".join([*kept, b"Connection: close"]) + b"\r\n\r\n" + body)
            answer = b""
            while chunk := server.recv(1 << 16):
                answer += chunk
        if fault == "unanswered":
            raise OSError
        return answer


def put(port, path, body=None):
    """A plain request to the server itself."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("PUT", path, body)
    assert connection.getresponse().status in (200, 204)
    connection.close()


def _body(answer):
    return answer.partition(b"\r\n\r\n")[2]


def _message(client):
    """The head and the body of one request."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(1 << 16)
        if not chunk:
            return b"", b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")), 0)
    if b"100-continue" in head.lower():
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while len(body) < length:
        body += client.recv(1 << 16)
    return head, body
