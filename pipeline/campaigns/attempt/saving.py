"""Save a running attack beside it: its state is copied to the host at once, and a thread hashes and writes the copy.

The attack waits for the copy only. One save at most is in flight, so the memory of one more state is taken at most. How often
one begins follows from what it costs; how much work may be lost is bounded whatever it costs.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.store.attempts import Attempts
from pipeline.store.checkpoints import Header

Snapshot = Callable[[], Mapping[str, Tensor]]
"""Copy a state to the host, by name."""

SHARE = 0.01
"""Share of a worker's time that its checkpoints may cost."""

APART = 10.0
"""A worker writes checkpoints for at most one part in this many of the time: others need the store, for units too."""

LONGEST = 5.0
"""Two checkpoints are at most this many times as far apart as was asked for, whatever they cost."""


@dataclass
class Pace:
    """Decide how far two checkpoints are apart.

    seconds  as asked for
    cost     seconds for which the last one held up the worker
    took     seconds from its copy until it was written
    """

    seconds: float
    cost: float = 0.0
    took: float = 0.0

    @property
    def interval(self) -> float:
        """Return the seconds from the beginning of one checkpoint to that of the next."""
        return min(self.most, max(self.seconds, self.cost / SHARE, self.took * APART))

    @property
    def far(self) -> bool:
        """Return whether users should know how far they are apart: twice as far as was asked for, and more than a minute."""
        return self.interval > max(2 * self.seconds, 60)

    @property
    def most(self) -> float:
        """Return the seconds after which the attack waits for the save in flight: no more work can be lost."""
        return LONGEST * self.seconds


class _Abandoned(Exception):
    """Say that the checkpoint is not needed any more."""


@dataclass
class Saver:
    """Write the checkpoints of one attempt.

    seconds  between two of them, as the campaign asks for
    device   where the attack runs; on a CPU the thread that writes takes time from it, which counts as cost
    """

    attempts: Attempts
    seconds: float
    device: torch.device
    pace: Pace = field(init=False)
    size: int = 0
    """Bytes of the last checkpoint that was written."""

    def __post_init__(self) -> None:
        """Begin to count the time."""
        self.pace = Pace(self.seconds)
        self._begun = time.monotonic()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._stop = threading.Event()

    def due(self) -> bool:
        """Return whether a checkpoint should begin. Raises what the last one raised, such as StorageError."""
        if self._thread and not self._thread.is_alive():
            self.finish()
        since = time.monotonic() - self._begun
        return since > (self.pace.most if self._thread else self.pace.interval)

    def save(self, header: Header, snapshot: Snapshot) -> None:
        """Copy the state and begin to write it, once the save in flight has ended. Raises what that one raised."""
        if self.device.type == "cuda":  # what is queued is work, not cost
            torch.cuda.synchronize(self.device)
        began = time.monotonic()
        self.finish()
        tensors = snapshot()
        self._begun = time.monotonic()
        held = self._begun - began
        self._thread = threading.Thread(target=self._write, args=(header, tensors, held), daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until the save in flight is written. Raises what it raised."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._error:
            error, self._error = self._error, None
            raise error

    def abandon(self) -> None:
        """End the save in flight: its unit is done, or its attempt is given up. What it raises costs nothing."""
        self._stop.set()
        self.settle()

    def settle(self) -> None:
        """Wait until the save in flight is written, so that a next attempt finds it. What it raises costs nothing."""
        if self._thread:
            self._thread.join()
        self._thread = self._error = None

    def _write(self, header: Header, tensors: Mapping[str, Tensor], held: float) -> None:
        """Write a checkpoint, and measure it; `held` is how long the attack waited for the copy."""
        began, busy = time.monotonic(), time.thread_time()
        try:
            self.size = self.attempts.save(header, tensors, self._watch)
        except _Abandoned:
            return
        except Exception as error:
            self._error = error
        taken = time.thread_time() - busy if self.device.type == "cpu" else 0.0
        self.pace.cost, self.pace.took = held + taken, time.monotonic() - began

    def _watch(self) -> None:
        if self._stop.is_set():
            raise _Abandoned


def copied(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return the tensors of a state on `device`, given on the host, as a copy: on a CPU they are the state's own."""
    return {name: tensor.clone() if device.type == "cpu" else tensor for name, tensor in tensors.items()}
