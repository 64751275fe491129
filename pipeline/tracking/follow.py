"""Follow one run in a process of its own, and tell one tracker: python -m pipeline.tracking.follow

Lines of JSON come in on stdin: first the order, then what happens, {"unit": name, "rate": 1.5, "seconds_left": 60}, {"parked":
unit} or {"end": exit code}. Lines for a person go out on stdout. The end of stdin without an end means that the driver is gone.
"""

import json
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TextIO

from barrage_plugins import allow
from pipeline.store import planned_cells
from pipeline.store.layout import Store
from pipeline.tracking.figures import TOTAL, Figures
from pipeline.tracking.settings import run_id, settings
from pipeline.tracking.table import TRACKERS, split
from pipeline.tracking.tracked_run import TrackedRun, Tracker

Message = dict[str, Any]

EVERY = 5.0
"""Seconds between two calls of `log`, so that a service gets a bounded number of points."""

AGAIN = 60.0
"""Seconds before a tracker that could not be reached is tried again."""

GONE = 143
"""The exit code of a run whose driver ended without one: that of a process which was asked to stop."""


class Following:
    """Hold the figures of a run and its tracker, and let no error of it out."""

    def __init__(self, text: str, store: Store, say: Callable[[str], None]) -> None:
        """Read what the store holds; `text` stands behind --track."""
        self._text, self._store, self._say = text, store, say
        self._figures = Figures(store)
        self._tracker: Tracker | None = None
        self._pace: dict[str, float] = {}
        self._news, self._warned, self._next = False, False, 0.0

    def take(self, message: Message) -> None:
        """Take in what happened."""
        self._news = True
        if "unit" in message:
            self._figures.add(message["unit"])
            self._pace = {f"{TOTAL}/{name}": float(value) for name, value in message["pace"].items()}
        elif "parked" in message:
            self._figures.park(message["parked"])

    def log(self, last: bool = False) -> None:
        """Log what is new in this run, but not too often; `last`: in any case."""
        if self._news and (last or time.monotonic() >= self._next):
            self._next = time.monotonic() + (EVERY if self._trying(self._send) else AGAIN)

    def end(self, exit_code: int) -> None:
        """Log the rest, and end the tracked run."""
        self.log(last=True)
        if tracker := self._tracker:
            self._trying(partial(tracker.end, exit_code))

    def _send(self) -> None:
        if self._tracker is None:
            self._tracker = self._started()
        self._tracker.log(self._figures.changed() | self._pace, self._figures.images)
        self._news = False

    def _started(self) -> Tracker:
        name, destination = split(self._text)
        campaign = planned_cells.read(self._store, self._store.url)[0]
        run = TrackedRun(run_id(self._store, campaign), campaign, destination, settings(self._store))
        tracker = TRACKERS[name].start(run)
        if tracker.place:
            self._say(f"tracked by {name}: {tracker.place}")
        return tracker

    def _trying(self, act: Callable[[], object]) -> bool:
        """Do something with the tracker; return whether it succeeded. The first failure is reported."""
        try:
            act()
        except Exception as error:  # code of others may raise anything
            if not self._warned:
                self._warned = True
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                self._say(f"warning: --track {self._text} failed ({reason}); the campaign goes on, and it is tried again")
            return False
        return True


def follow(store: str, text: str, messages: "queue.SimpleQueue[Message]", say: Callable[[str], None]) -> None:
    """Follow the run on a store until its end; `text` stands behind --track, `say` shows one line to a person."""
    following = Following(text, Store(store), say)
    while True:
        for message in _waiting(messages):
            if "end" in message:
                return following.end(message["end"])
            following.take(message)
        following.log()


def _waiting(messages: "queue.SimpleQueue[Message]") -> Iterator[Message]:
    """Yield the messages that are there; nothing if none comes for a while."""
    try:
        yield messages.get(timeout=EVERY)
        while True:
            yield messages.get_nowait()
    except queue.Empty:
        return


def _listen(lines: TextIO, messages: "queue.SimpleQueue[Message]", patience: float, leave: Callable[[], None]) -> None:
    """Pass on what comes in; `leave` this process `patience` seconds after the end, whatever a tracker does then."""
    for line in lines:
        message = json.loads(line)
        messages.put(message)
        if "end" in message:
            break
    else:
        messages.put({"end": GONE})
    time.sleep(patience)
    leave()


def main() -> None:
    """Follow the run of the order on stdin. A tracker cannot reach the streams between this process and the driver."""
    os.nice(5)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the driver says when the end is
    lines, out = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w", buffering=1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    order, messages = json.loads(lines.readline()), queue.SimpleQueue[Message]()

    def say(text: str) -> None:
        print(text, file=out)

    def leave() -> None:
        say(f"warning: --track {order['track']} did not end within {order['patience']:g} s, and was left")
        os._exit(0)

    threading.Thread(target=_listen, args=(lines, messages, order["patience"], leave), daemon=True).start()
    allow(order["modules"], order["folders"])
    try:
        follow(order["store"], order["track"], messages, say)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        say(f"warning: --track {order['track']} ends ({reason}); the campaign goes on")


if __name__ == "__main__":
    main()
