"""Start a process that tells a tracker how a run goes, and never wait for it but at the end, for a bounded time."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from barrage_plugins import allowed, folders
from pipeline.parallel import same_modules

PATIENCE = 60.0
"""Seconds that a tracker gets at the end of a run to send the rest; then its process ends itself."""

GRACE = 5.0
"""Seconds more before the process is killed: one that is stopped cannot end itself."""


WARNING = "warning: "
"""How a line begins that tells a person of a fault."""


class Follower:
    """Hold the process of one tracker. No method raises an error, and none but `end` takes time."""

    def __init__(self, track: str, store: str, say: Callable[[str], None]) -> None:
        """Start the process; `track` stands behind --track, `say` shows a line to a person, from any thread."""
        self._patience = PATIENCE
        self._track, self._say, self._messages = track, say, queue.SimpleQueue[str | None]()
        order = {"track": track, "store": store, "modules": sorted(allowed()), "folders": folders(), "patience": self._patience}
        self._messages.put(json.dumps(order))
        self._threads: list[threading.Thread] = []
        try:
            self._process = _started()
        except OSError as error:
            say(f"{WARNING}--track {track} cannot be started ({error}); the campaign goes on")
            return
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._write, self._read)]
        for thread in self._threads:
            thread.start()

    def tell(self, **message: object) -> None:
        """Pass on what happened; see `follow`."""
        self._messages.put(json.dumps(message))

    def ask_to_end(self, exit_code: int) -> None:
        """Say that the run ended. Returns at once."""
        self.tell(end=exit_code)
        self._messages.put(None)

    def end(self) -> None:
        """Wait until the tracker has sent everything; after PATIENCE seconds it is ended."""
        if not self._threads:
            return
        try:
            self._process.wait(self._patience + GRACE)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        for thread in self._threads:
            thread.join(1)

    def _write(self) -> None:
        """Pass on messages to the process. A process that does not read holds up this thread, and nothing else."""
        with suppress(OSError), _of(self._process.stdin) as pipe:
            while (message := self._messages.get()) is not None:
                pipe.write(f"{message}\n")
                pipe.flush()

    def _read(self) -> None:
        """Show what the process says, and if it died without a word."""
        warned = False
        with _of(self._process.stdout) as pipe:
            for line in pipe:
                warned = warned or line.startswith(WARNING)
                self._say(line.rstrip("\n"))
        if (code := self._process.wait()) and not warned:
            self._say(f"{WARNING}--track {self._track} ended with exit code {code}; the campaign goes on")


def _started() -> subprocess.Popen[str]:
    """Start the process, out of reach of the signals that a terminal sends to the run."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.tracking.follow"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | same_modules(),
        text=True,
        encoding="utf-8",
    )


def _of(stream: IO[str] | None) -> IO[str]:
    assert stream is not None, "the process was started with pipes"
    return stream
