"""The engine runs any job: it names no campaign, and asks units and events for nothing that their protocols don't have."""

import ast
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pipeline.config.fields import Share
from pipeline.execution import Event, Failed, LocalExecutor, Queue
from pipeline.execution.ray.metrics import Metrics

ROOM = Path(__file__).parents[3] / "pipeline" / "execution"


@dataclass(frozen=True)
class Word:
    """The smallest unit."""

    name: str
    counted_as: ClassVar[None] = None


@dataclass(frozen=True)
class Spelled(Event[Word]):
    letters: int


@dataclass(frozen=True)
class Counting:
    """The smallest job."""

    name: str = "counting"
    workers: Share = field(default_factory=Share)
    counters: ClassVar[dict[str, str]] = {}


def begin(job, device, drain):
    def work(word: Word) -> Iterator[Spelled]:
        if word.name == "bad":
            raise ValueError("no word")
        yield Spelled(word, len(word.name))

    return work


def test_a_job_of_a_strangers_runs_with_what_the_protocols_ask_for():
    words = [Word("one"), Word("bad"), Word("three")]
    queue = Queue(words[:2])
    events = []
    for event in LocalExecutor(begin).execute(Counting(), queue, threading.Event()):
        events.append(event)
        if len(events) == 1:
            queue.add(words[2:])
    assert [event.letters for event in events if isinstance(event, Spelled)] == [3, 5]
    failed = [event for event in events if isinstance(event, Failed)]
    assert [event.final for event in failed] == [False, False, True] and failed[-1].reason == "ValueError: no word"
    assert len(failed[-1].attempts) == 3 and {event.unit for event in failed} == {words[1]}


def tree(path):
    return ast.walk(ast.parse(path.read_text()))


def test_no_type_is_left_open_and_no_attribute_is_tested():
    files = [path for path in ROOM.rglob("*.py") if path.name != "private.py"]
    assert len(files) > 10
    for path in files:
        names = {node.id for node in tree(path) if isinstance(node, ast.Name)}
        assert not names & {"Any", "hasattr"}, path
        tested = [node for node in tree(path) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr"]
        assert all(ast.unparse(call.args[0]).startswith("torch") for call in tested), path


def test_the_engine_imports_neither_campaigns_nor_plans():
    allowed = ("pipeline.errors", "pipeline.config.fields", "pipeline.execution")
    for path in ROOM.rglob("*.py"):
        for node in tree(path):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline"):
                assert node.module.startswith(allowed), (path, node.module)


@dataclass(frozen=True)
class Counted(Event[Word]):
    """An event of a unit that metrics count."""

    done: int

    @property
    def totals(self) -> dict[str, float]:
        return {"letters": self.done}


@dataclass(frozen=True)
class Last(Counted):
    """The last event of an attempt."""

    ends: ClassVar[bool] = True


@dataclass(frozen=True)
class Label:
    name: str
    counted_as: str = "label"


class Sum:
    """A counter that adds up, and refuses to go down, as Prometheus does."""

    def __init__(self):
        self.value = 0

    def inc(self, value, tags):
        assert value > 0 and tags == {"campaign": "counting", "cell": "label"}
        self.value += value


def test_totals_of_an_attempt_are_counted_once_and_a_new_attempt_counts_anew():
    metrics, unit, other = Metrics("counting", {"letters": "letters"}), Label("a"), Label("b")
    sums = {name: Sum() for name in ("letters", "units_failed", "units_parked")}
    metrics._counters = sums
    for done, expected in ((3, 3), (3, 3), (7, 7), (2, 9), (4, 11)):  # 2 after 7: its worker was lost, another one began
        metrics.count(Counted(unit, done), 1)
        assert sums["letters"].value == expected
    metrics.count(Counted(other, 5), 1)
    metrics.count(Last(unit, 6), 1)
    assert sums["letters"].value == 18
    metrics.count(Failed(other, "no", final=False), 1)
    metrics.count(Counted(other, 6), 1)
    assert sums["letters"].value == 24, "after a failure it begins anew, though it went further"
    metrics.count(Failed(other, "no", final=True), 1)
    assert (sums["units_failed"].value, sums["units_parked"].value) == (2, 1)
    assert not metrics._totals, "nothing is kept of what has ended"
