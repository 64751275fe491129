"""Decode images in a process beside this one: an image at which a decoder crashes, spins or grows costs itself, not the worker.

The libraries that decode are written in C, and images come from strangers. Such an image is a row with a reason that is the
same on every run. The process holds nothing but the image; it is started when it is first needed, and again after each loss.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Any

import numpy as np

from pipeline.config.framing import Framing
from pipeline.data.decoding import decode as decode_here
from pipeline.data.framing import AS_BEFORE
from pipeline.errors import steady
from pipeline.parallel import same_modules

SECONDS = 60
"""Seconds of a core that one image may take."""

MEMORY = 2 << 30
"""Bytes of memory that the process may take."""

Pixels = np.ndarray[Any, Any]


class Guard:
    """Hold the process that decodes; `module` is what it runs."""

    def __init__(self, module: str = __name__) -> None:
        self._module, self._lock = module, threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, image: bytes, resize: int | None, crop: int, framing: Framing = AS_BEFORE, exif: bool = False) -> Pixels:
        """Return what `decoding.decode` returns.

        Raises ValueError as it does, and if the process dies of the image; RuntimeError if another process killed it.
        """
        order = {"bytes": len(image), "resize": resize, "crop": crop, "framing": list(framing), "exif": exif}
        with self._lock:
            answer = self._asked(json.dumps(order).encode() + b"\n" + image)
        if answer[:1] == b"+":
            return np.frombuffer(answer, np.uint8, offset=1).reshape(3, crop, crop).copy()
        raise ValueError(answer[1:].decode())

    def _asked(self, order: bytes) -> bytes:
        """Return the answer of the process to an order, or why it has none."""
        if self._process is None or self._process.poll() is not None:
            self._process = self._started()
        process = self._process
        assert process.stdin and process.stdout
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(order)
                process.stdin.flush()
            size = process.stdout.read(8)
            answer = process.stdout.read(int.from_bytes(size, "big"))
        except BaseException:  # such as Ctrl-C: the answer must not be taken for that of the next image
            self._process = None
            process.kill()
            raise
        if len(size) == 8 and len(answer) == int.from_bytes(size, "big"):
            return answer
        return _last_words(process.wait())

    def _started(self) -> "subprocess.Popen[bytes]":
        """Start the process. It sees the modules that this one sees, and needs one thread."""
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        order = [sys.executable, "-m", self._module]
        return subprocess.Popen(order, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | threads | same_modules())


def _last_words(code: int) -> bytes:
    """Return why a process that ended with this exit code gave no pixels. Raises RuntimeError if no image does that."""
    if code >= 0 or -code in (signal.SIGKILL, signal.SIGTERM):
        raise RuntimeError(f"the process that decodes images ended with the exit code {code}, which no image causes: try again")
    if -code == signal.SIGXCPU:
        return f"-decoding it takes more than {SECONDS} s".encode()
    return f"-its decoder crashed: {signal.Signals(-code).name}".encode()


_GUARD = Guard()

decode = _GUARD.decode
"""Decode an image by the one guard of this process."""


def serve() -> None:
    """Answer the orders of a Guard until it is gone. Signals that are meant for its own process end nothing here."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    orders, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA, MEMORY)
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # else one for each core, each with memory of its own
    while head := orders.readline():
        answer = _answer(json.loads(head), orders)
        answers.write(len(answer).to_bytes(8, "big") + answer)
        answers.flush()


def _answer(order: dict[str, Any], orders: IO[bytes]) -> bytes:
    """Return `+` and the pixels of an image, or `-` and the reason why it has none."""
    image = orders.read(order["bytes"])
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + SECONDS)
    try:
        return b"+" + decode_here(image, order["resize"], order["crop"], Framing(*order["framing"]), order["exif"]).tobytes()
    except MemoryError:
        return f"-decoding it takes more than {MEMORY >> 30} GB".encode()
    except ValueError as error:
        return f"-{error}".encode("utf-8", "backslashreplace")
    except Exception as error:
        return f"-{type(error).__name__}: {steady(error)}".encode("utf-8", "backslashreplace")


def _limit(what: int, most: int) -> None:
    """Set the most that this process may use, where the system can."""
    with suppress(ValueError, OSError):
        resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


if __name__ == "__main__":
    serve()
