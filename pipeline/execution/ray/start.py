"""Start a Ray on this machine, or join a cluster. What cannot work ends in one line, within seconds."""

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BadInput, one_line
from pipeline.execution.outcome import end_at_once
from pipeline.execution.ray import private
from pipeline.execution.ray.private import Ray
from pipeline.execution.ray.scratch import DIGITS, Scratch

ANSWER_SECONDS = 5.0
"""Within which the head of a cluster has to accept a connection, and to answer."""

SOCKET_BYTES = 107
"""The longest path of a socket (unix(7), sun_path)."""

_SOCKET = f"/ray/{'0' * DIGITS}/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
"""What is added to the folder for the longest path of a socket, by the run and by Ray."""

_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""The first bytes of a client of HTTP/2, which Ray speaks: the preface, and a frame of no settings (RFC 9113, section 3.4)."""

_SETTINGS = 4
"""The kind of the frame that a server of HTTP/2 sends first."""


def check(address: str | None) -> None:
    """Raise BadInput if an address is given, or RAY_ADDRESS is set, and no Ray answers there; takes seconds at most."""
    if address := address or os.environ.get("RAY_ADDRESS"):
        check_address(address)


@dataclass(frozen=True)
class Started:
    """Hold the Ray that this process joined or started; `scratch` is the folder of one that was started here."""

    ray: Ray
    scratch: Scratch | None = None

    def end(self) -> None:
        """End the Ray that was started here and remove its folder, or leave the cluster."""
        self.ray.shutdown()
        if self.scratch:
            self.scratch.remove()

    def kill(self) -> None:
        """End it without waiting for an answer. Its logs, which may say why, stay until the next start."""
        private.kill(self.ray)


def start(ray: Ray, address: str | None) -> Started:
    """Join the cluster at `address` or RAY_ADDRESS, else start one that ends with this process. Raises BadInput.

    A Ray that is started here listens on 127.0.0.1 alone. Where its start is interrupted, its processes are ended. SIGTERM ends
    this process with the exit code 143 from now on; Ray's own handler would make it 15.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        started = _join(ray, address) if address else _start_here(ray)
    except KeyboardInterrupt:
        private.kill(ray)
        raise
    except SystemExit:  # Ray's handler of SIGTERM
        private.kill(ray)
        end_at_once(signal.SIGTERM)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end_at_once)
    return started


def _start_here(ray: Ray) -> Started:
    scratch = Scratch.made(check_folder())
    here = {"_temp_dir": str(scratch.folder)} if scratch else {}
    try:
        with (
            _short_logs(),
            private.loopback_only(ray),
        ):  # "local", or Ray would join a cluster that another program started on this machine
            ray.init(address="local", include_dashboard=False, object_store_memory=100_000_000, **_QUIET, **here)
    except Exception as error:  # of many kinds, as of a process of Ray that does not answer in time
        private.kill(ray)
        raise BadInput(
            f"Ray could not be started on this machine ({one_line(error)}): try again when less runs here, set RAY_TMPDIR to "
            "another folder, or run with --here"
        ) from None
    return Started(ray, scratch)


def _join(ray: Ray, address: str) -> Started:
    check_address(address)
    try:
        ray.init(address=address, **_QUIET)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"no Ray cluster answers at {address}: start it, or leave the address out ({reason})") from None
    return Started(ray)


_QUIET = {"log_to_driver": False, "logging_level": "error"}

_LOGS = {"RAY_ROTATION_MAX_BYTES": str(2 << 20), "RAY_ROTATION_BACKUP_COUNT": "1"}
"""How large Ray lets each of its logs grow, and how many earlier ones it keeps: by default it writes gigabytes."""


@contextmanager
def _short_logs() -> Iterator[None]:
    """Let the Ray that is started meanwhile keep little of what it says, unless the user set how much."""
    own = _LOGS.keys() - os.environ.keys()
    os.environ.update({name: _LOGS[name] for name in own})
    try:
        yield
    finally:
        for name in own:
            del os.environ[name]


def check_folder() -> Path:
    """Return where folders for Ray go, below the one that RAY_TMPDIR or TMPDIR names (default: /tmp); makes it.

    Raises BadInput if Ray cannot keep its sockets there.
    """
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "")
    folder = Path(os.environ[name] if name else "/tmp")
    what, most = f"{name or 'the folder'} {os.environ.get(name, folder)!s}".rstrip(), SOCKET_BYTES - len(_SOCKET)
    remedy = "set RAY_TMPDIR to another folder, such as /tmp, or run with --here"
    if not folder.is_absolute():
        raise BadInput(f"{what} is no whole path, which every process of Ray would find: {remedy}")
    if len(os.fsencode(folder)) > most:
        raise BadInput(f"{what} has {len(os.fsencode(folder))} bytes, Ray's sockets leave room for {most}: {remedy}")
    shared = folder / "ray"
    try:
        if not shared.is_dir():
            shared.mkdir(parents=True, exist_ok=True)
            shared.chmod(0o1777)  # for all users of the machine, each of whom removes what is their own
        with tempfile.TemporaryFile(dir=shared):
            pass
    except OSError as error:
        raise BadInput(
            f"{what} cannot be written to ({error.strerror}), where Ray keeps its sockets and logs: {remedy}"
        ) from None
    return shared


def check_address(address: str) -> None:
    """Raise BadInput unless the head of a Ray cluster answers at HOST:PORT. Takes 2 * ANSWER_SECONDS at most.

    `auto`, by which Ray finds a cluster on this machine, is not checked; an encrypted one has to accept a connection only.
    """
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise BadInput(f"the address {address} of a Ray cluster: expected HOST:PORT, such as 10.0.0.1:6379")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") in ("", "0"):
                connection.sendall(_HELLO)
                if connection.recv(9)[3:4] != bytes([_SETTINGS]):
                    raise BadInput(f"what answers at {address} is no Ray: give the address of its head, or leave it out")
    except OverflowError:
        raise BadInput(f"the address {address} of a Ray cluster: expected a port up to 65535") from None
    except OSError as error:
        raise BadInput(
            f"no Ray cluster answers at {address} ({error.strerror or error}): start it, or leave the address out"
        ) from None
