"""Watch one store: read it again and again while a page asks for it, and keep what the page shows of it."""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.errors import BadInput, StorageError
from pipeline.scoring import summaries
from pipeline.scoring.summaries import Line, Scope
from pipeline.status.summary import Reader, Status
from pipeline.storage import urls
from pipeline.storage.files import Entry
from pipeline.store.layout import Store
from pipeline.store.planned_cells import FILE
from pipeline.view import overview
from pipeline.view.rows.database import Database
from pipeline.view.rows.reading import Reading
from pipeline.view.rows.scored import cut

if TYPE_CHECKING:
    from pipeline.campaigns.job import Job

EVERY = 2.0
"""Seconds between two readings of a store, at least; longer where one takes long."""

SHARE = 0.25
"""The most of its time that a watcher reads, once all rows are there."""

AWAY = 60.0
"""Seconds after the last request from which on nothing is read: no page is open."""

SAMPLE = 64
"""Files that the status reads for times and costs; accuracies come from all rows."""

EMPTY: dict[str, Any] = {
    "complete": False, "images_per_second": None, "seconds_left": None, "cells": [], "parked": [], "alarms": [], "failures": [],
    "curves": {"curves": None, "persistent": [], "certified": []},
}  # fmt: skip
"""What the page shows of a store of which nothing is known yet."""


@dataclass
class Watched:
    """Hold a store that is watched: its rows, and `content`, which the page shows.

    Its thread alone changes it; `content` is replaced whole, and never changed.
    """

    id: str
    url: str
    rules: Sequence[str]
    content: dict[str, Any] = field(default_factory=dict)
    revision: int = 0
    job: "Job | None" = None
    pictures: Any = None
    """What reads pictures of the store, made when one is asked for."""

    def __post_init__(self) -> None:
        self._store = Store(self.url, urls.ANSWER_SECONDS)
        self._status = Reader(self.url, SAMPLE)
        self.database = Database(self.rules)
        self.reading = Reading(self.url, self.rules, self.database)
        self._kept = overview.Slow()
        self._campaign: Entry | None = None
        self._settings: dict[str, dict[str, Any]] = {}
        self._shown: Status | None = None
        self._asked, self._stop, self._published = time.monotonic(), threading.Event(), 0.0
        self._publish(problem=None, loading=0.0)

    def start(self) -> None:
        """Read the store in a thread, until `stop`."""
        threading.Thread(target=self._watch, name=f"store {self.id}", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end after what it is at."""
        self._stop.set()

    def asked(self) -> None:
        """Keep the store up to date for another while: a page is open."""
        self._asked = time.monotonic()

    def _watch(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            self.refresh()
            self._stop.wait(max(EVERY, (time.monotonic() - began) / SHARE))
            while time.monotonic() - self._asked > AWAY and not self._stop.is_set():
                self._stop.wait(EVERY)

    def refresh(self) -> None:
        """Read the store once. What is wrong with it becomes its `problem`; what was read before stays."""
        try:
            self._shown = self._status.status()
            if not self.content["cells"]:
                self._publish(problem=None, loading=0.0)
            from pipeline.view import figures  # takes seconds to load; the page has an overview by now

            problem = self._open()
            changed, damaged = self.reading.update(self._report)
            figures.histories(self.database, self.reading.cells, changed, self._kept.history)
            if changed or not self._kept.figures:
                self._kept.figures = figures.figures(self.url, self.job, self.lines(), self.database)
            self._kept.checks = figures.checks(self.url)
            self._kept.pictures_missing = figures.pictures_missing(self.job) if self.job else "the campaign cannot be read"
            more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
            self._publish(problem=damaged[0] + more if damaged else problem, loading=None)
        except (BadInput, StorageError) as error:
            self._publish(problem=str(error), loading=None)
        except Exception as error:  # a store that is deleted or hostile may raise anything; the next reading may do better
            self._publish(problem=f"the store cannot be read: {type(error).__name__}: {error}", loading=None)

    def lines(self) -> list[Line]:
        """Return the lines of the table of the rows so far."""
        tallies = {cell: seen.tally for cell, seen in self.reading.cells.items() if seen.tally}
        return summaries.lines_of(tallies, self.rules, self._scopes())

    def _scopes(self) -> dict[str, Scope]:
        with suppress(BadInput, StorageError):
            return self.job.scopes() if self.job else {}
        return {}

    def _open(self) -> str | None:
        """Open the campaign where it is new; return what is wrong with it."""
        from pipeline.view import figures

        entry = self._store.entry(FILE)
        if self.job and entry == self._campaign:
            return None
        try:
            self.job, self._campaign = figures.opened(self.url), entry
        except BadInput as error:
            return str(error)
        self.reading.names = [cut(name) for name in self.job.campaign.data.names]
        self._settings = figures.settings(self.job)
        return None

    def _report(self) -> None:
        """Show the rows so far, while a long reading goes on."""
        now = time.monotonic()
        if now - self._published < EVERY or not self._shown:
            return
        expected = sum(cell.images_done for cell in self._shown.cells.values())
        self._publish(problem=None, loading=min(1.0, self.reading.rows / max(1, expected)))

    def _publish(self, problem: str | None, loading: float | None) -> None:
        """Show what is known now."""
        lines, status, slow = self.lines(), self._shown, self._kept
        content = EMPTY | {"id": self.id, "name": self.url, "place": self.url, "problem": problem and cut(problem)}
        if status:
            content |= overview.of_status(status, self._settings, lines, self.reading.cells)
            content |= {"parked": overview.parked(self._store, status), "alarms": overview.alarms(status, lines)}
        content |= overview.of_rows(lines, self.reading.cells) | slow.figures
        content |= {"loading": loading, "history": dict(slow.history), "checks": slow.checks}
        content |= {"classes": list(self.reading.names) or None, "pictures": not slow.pictures_missing}
        content |= {"pictures_missing": slow.pictures_missing or None}
        content = overview.plain(content)
        if content != self.content:
            self.content, self.revision = content, self.revision + 1
        self._published = time.monotonic()
