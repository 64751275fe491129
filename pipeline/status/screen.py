"""Show a status: as a table that fits the terminal, as plain lines in a log, as JSON for programs."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.escaped import line
from pipeline.planning.time_left import HOUR, clock
from pipeline.scoring.blind import alarm
from pipeline.scoring.intervals import Rate
from pipeline.status.columns import Column, table
from pipeline.status.scan import Parked, Running
from pipeline.status.summary import CellStatus, Status

U = TypeVar("U")

LISTED = 10
"""The most units of one kind that are listed by name; JSON lists all."""


def _rate(rate: Rate | None) -> str:
    """Format a rate with its interval; an empty text where there is none."""
    return "" if rate is None else str(rate)


def _count(count: int) -> str:
    """Format a count; an empty text for 0, so that the other counts stand out."""
    return f"{count:,}" if count else ""


def _figure(rate: float) -> str:
    """Format a rate with at least three significant digits."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _hours(seconds: float | None) -> str:
    """Format seconds as hours; `?` where they are unknown."""
    if seconds is None:
        return "?"
    return f"{seconds / HOUR:,.{0 if seconds >= 100 * HOUR else 2}f}" if seconds else "0"


def _unit(status: Status) -> str:
    """Return the unit of device time: CPU-hours, GPU-hours, or device-hours where both kinds worked."""
    cpus = {device.startswith("cpu") for device in status.devices}
    return {frozenset([True]): "CPU-hours", frozenset([False]): "GPU-hours"}.get(frozenset(cpus), "device-hours")


def _columns(status: Status) -> list[Column]:
    """Return the columns of the table of cells."""
    hours, cells = _unit(status), status.cells.values()

    def column(head: str, rank: int, text: Callable[[CellStatus], str]) -> Column:
        return Column(head, rank, [text(cell) for cell in cells])

    return [
        column("units", 0, lambda c: f"{c.done:,}/{c.units:,}"),
        column("running", 3, lambda c: _count(c.running)),
        column("parked", 2, lambda c: _count(c.parked)),
        column("left", 5, lambda c: _count(c.left)),
        column("images", 4, lambda c: f"{c.images_done:,}/{c.images:,}"),
        column("clean\ntop-1 in %", 6, lambda c: _rate(c.clean)),
        column("attacked\ntop-1 in %", 1, lambda c: _rate(c.attacked)),
        column("draw-gradients\ndone", 9, lambda c: _count(c.draw_gradients)),
        column("draw-gradients\nleft", 10, lambda c: _count(c.draw_gradients_left)),
        column(f"{hours}\nspent", 8, lambda c: _hours(c.device_seconds)),
        column(f"{hours}\nleft", 7, lambda c: _hours(c.device_seconds_left)),
    ]


def view(status: Status, width: int) -> RenderableType:
    """Return the whole status, laid out for a terminal of `width` columns."""
    done, units = status.total("done"), status.total("units")
    head = Table.grid(padding=(0, 1), expand=False)
    bar = ProgressBar(total=max(1, units), completed=done, width=min(30, max(10, width // 4)))
    head.add_row(Text(line(status.name), style="bold"), bar, f"{100 * done / max(1, units):.1f} %")
    body = table(list(status.cells), _columns(status), width)
    lines: list[RenderableType] = [Text(line(text)) for text in _totals(status)]
    lines += [Text(line(text), style="red") for text in _alarms(status)]
    lines += [Text(line(text), style="yellow") for text in (*_stopped(status), *_parked(status), *status.warnings)]
    running = (Text(line(text), style="dim") for text in _running(status))
    return Group(head, Text(line(status.store), style="dim"), body, *lines, *running)


def lines(status: Status) -> Iterator[str]:
    """Yield the whole status as lines of text, one fact each, none shortened."""
    hours = _unit(status)
    yield f"{status.name} in {status.store}"
    for name, cell in status.cells.items():
        rates = [f"{side} top-1 {rate} %" for side, rate in (("clean", cell.clean), ("attacked", cell.attacked)) if rate]
        units = f"units {cell.done:,}/{cell.units:,} done, {cell.running:,} running, {cell.parked:,} parked, {cell.left:,} left"
        cost = f"draw-gradients {cell.draw_gradients:,} done, {cell.draw_gradients_left:,} left"
        spent = f"{hours} {_hours(cell.device_seconds)} spent, {_hours(cell.device_seconds_left)} left"
        yield "; ".join([f"{name}: {units}", f"images {cell.images_done:,}/{cell.images:,}", *rates, cost, spent])
    yield from (*_totals(status), *_alarms(status), *_running(status), *_stopped(status), *_parked(status))
    yield from (f"warning: {warning}" for warning in status.warnings)


def summary(status: Status) -> str:
    """Return the status as one line with a time stamp, for a log."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {'; '.join(_totals(status)[:2])}"


def _totals(status: Status) -> list[str]:
    """Return the lines that hold for all cells together: units, time left, rate, cost, failed images."""
    total = status.total
    units = f"{total('done'):,}/{total('units'):,} units, {total('images_done'):,}/{total('images'):,} images"
    found = [f"{units}; {total('running'):,} running, {total('parked'):,} parked, {total('left'):,} left"]
    found.append("complete" if status.complete else _time_left(status))
    through, hours = status.throughput, _unit(status)
    if through:
        rate = f"{_figure(through.draw_gradients)} draw-gradients/s, {_figure(through.images)} images/s"
        found.append(f"rate: {rate}, {through.workers:.1f} workers busy, in the last {clock(through.seconds)} of work")
    left = f"{total('draw_gradients'):,} draw-gradients done, at most {total('draw_gradients_left'):,} left"
    found.append(f"cost: {left}; {hours} {_hours(total('device_seconds'))} spent, {_hours(total('device_seconds_left'))} left")
    if status.failed:
        found.append("failed images: " + ", ".join(f"{reason} {count:,}" for reason, count in sorted(status.failed.items())))
    if status.sampled:
        found.append(f"accuracy, cost and failed images are of a sample, {status.files_read:,} of {status.files:,} files")
    return found


def _alarms(status: Status) -> Iterator[str]:
    """Yield a line for each cell whose attack saw no gradient of some images."""
    for name, cell in status.cells.items():
        if cell.blind:
            yield f"{name}: {alarm(cell.blind, cell.images_read)}; find out why with: barrage check CAMPAIGN --cell {name}"


def _time_left(status: Status) -> str:
    """Return the line about the time left and the age of the newest file."""
    if status.seconds_left is None:
        return "time left: unknown until a unit is committed"
    ago = "" if status.written is None else f"; newest file {clock(status.written)} old"
    rate = "at the rate of the last run" if status.stalled else "at the present rate"
    return f"time left: {clock(status.seconds_left)} {rate}{ago}"


def _running(status: Status) -> Iterator[str]:
    """Yield a line for each running unit."""
    yield from _listed("running", status.running, _checkpoint)


def _stopped(status: Status) -> Iterator[str]:
    """Yield a line for each unit that has a checkpoint but no worker."""
    yield from _listed("stopped", status.stopped, _checkpoint)


def _parked(status: Status) -> Iterator[str]:
    """Yield a line for each parked unit, and how to retry them."""

    def text(unit: Parked) -> str:
        return f"{unit.unit}: attempts {unit.attempts}, last {unit.when} on {unit.host}: {unit.error}"

    yield from _listed("parked", status.parked, text)
    if status.parked:
        yield "to retry the parked units: barrage run CAMPAIGN --retry-parked"


def _checkpoint(unit: Running) -> str:
    """Return the step and the age of a unit's checkpoint."""
    return f"{unit.unit}: step {unit.step:.4g} of {unit.steps}, checkpoint {clock(unit.age)} old"


def _listed(kind: str, units: Sequence[U], text: Callable[[U], str]) -> Iterator[str]:
    """Yield a line for each of the first `LISTED` units, and one line that counts the rest."""
    yield from (f"{kind}: {text(unit)}" for unit in units[:LISTED])
    if len(units) > LISTED:
        yield f"{kind}: and {len(units) - LISTED:,} more"


def to_json(status: Status) -> str:
    """Return the whole status as JSON: the fields of `pipeline.status.summary`, rates in [0, 1], times in seconds."""
    content = asdict(status) | {"complete": status.complete, "sampled": status.sampled}
    for name, cell in status.cells.items():
        content["cells"][name]["left"] = cell.left
    return json.dumps(content, indent=1)


def show(status: Status, console: Console) -> None:
    """Print the status once."""
    if console.is_terminal:
        console.print(view(status, console.width))
    else:
        for text in lines(status):
            console.print(line(text), highlight=False, markup=False, soft_wrap=True)


def watch(read: Callable[[], Status], console: Console, every: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show the status that `read` returns, again every `every` seconds, until the campaign is complete.

    A log gets one line each time and the whole status at the end. A store that takes long to read is read less often.
    """
    status = read()
    if not console.is_terminal:
        while not status.complete:
            console.print(line(summary(status)), highlight=False, markup=False, soft_wrap=True)
            sleep(every)
            status = read()
        show(status, console)
        return
    with Live(view(status, console.width), console=console, auto_refresh=False, vertical_overflow="crop") as live:
        took = 0.0
        while not status.complete:
            sleep(max(every, 5 * took))
            began = time.monotonic()
            status = read()
            took = time.monotonic() - began
            live.update(view(status, console.width), refresh=True)
