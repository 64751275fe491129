"""Define what an executor asks of a job, of its units and of the events about them.

A job brings a function `begin`, which loads what a worker needs once and returns the function that does one unit. An executor
decides where and when that function is called. It knows neither campaigns nor trainings.
"""

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

import torch

from pipeline.config.fields import Share


class Unit(Hashable, Protocol):
    """Describe a piece of work that one worker does at a time: it is handed out, retried and finished as a whole."""

    @property
    def name(self) -> str:
        """Return a name that no other unit of the job has."""

    @property
    def counted_as(self) -> str | None:
        """Return the label that metrics count the unit under, such as the name of its cell; None: not counted."""


class Job(Protocol):
    """Describe what an executor needs to know of a job. A job is pickled and sent to each worker once."""

    @property
    def name(self) -> str:
        """Return the name of the campaign or training."""

    @property
    def workers(self) -> Share:
        """Return what each worker gets of a cluster."""

    @property
    def counters(self) -> Mapping[str, str]:
        """Return the names and descriptions of the counters that the job's events hold totals of."""


UnitT = TypeVar("UnitT", bound=Unit)
UnitT_co = TypeVar("UnitT_co", bound=Unit, covariant=True)


@dataclass(frozen=True)
class Event(Generic[UnitT_co]):
    """Hold one message of a worker about its unit."""

    unit: UnitT_co

    ends: ClassVar[bool] = False
    """Whether this is the last event of an attempt."""

    @property
    def totals(self) -> Mapping[str, float]:
        """Return what this attempt has counted so far, by the name of a counter of the job."""
        return {}


JobT = TypeVar("JobT", bound=Job)
EventT = TypeVar("EventT", bound=Event[Unit])

Work = Callable[[UnitT], Iterator[EventT]]
"""Do a unit; yield events until it is done. Raises Drained after it has written a checkpoint on request."""

Begin = Callable[[JobT, torch.device, threading.Event], Work[UnitT, EventT]]
"""Load what a worker needs for all its units, from (job, device, drain). The worker stops its unit once `drain` is set."""
