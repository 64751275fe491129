"""Show a quote to a person: the cells as a table, and the bill in words."""

from collections.abc import Iterator, Sequence

from rich.console import Console

from pipeline.costs import cell_cost
from pipeline.costs.campaign_cost import Quote
from pipeline.costs.cell_cost import Rated
from pipeline.escaped import line
from pipeline.planning.time_left import clock
from pipeline.status.columns import Column, table

FEW = 4
"""Cells that a line names one by one, at most."""


def show(quote: Quote, console: Console) -> None:
    """Print the cells as a table, and the bill under it."""
    cells = quote.cells.values()
    planned = [cell.planned for cell in cells]
    columns = [
        Column("units", 3, [f"{plan.units:,}" for plan in planned]),
        Column("images", 1, [f"{plan.images:,}" for plan in planned]),
        Column("draw-\ngradients", 2, [f"{plan.images * plan.draw_gradients:,}" for plan in planned]),
        Column("forward\ndraws", 5, [f"{plan.images * plan.forwards:,}" for plan in planned]),
        Column("draw-gradients\na second", 4, [_speed(cell.rated) for cell in cells]),
        Column("device-\nhours", 0, [_hours(cell.device_hours) for cell in cells]),
    ]
    console.print(table(list(quote.cells), columns, console.width))
    for text in lines(quote):
        console.print(line(text), highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _speed(rated: Rated) -> str:
    if rated.speed is None:
        return "?"
    error = rated.speed.error * rated.speed.attack
    return f"{rated.speed.attack:,.1f}" + (f" ± {error:.1f}" if error >= 0.05 else "")


def _hours(hours: float | None) -> str:
    if hours is None:
        return "?"
    if 0 < hours < 0.001:
        return "< 0.001"
    return f"{hours:,.{3 if hours < 10 else 1 if hours < 1000 else 0}f}"


def lines(quote: Quote) -> Iterator[str]:
    """Yield the bill in words, line by line."""
    cells, bill, asked = quote.cells.values(), quote.bill, quote.asked
    units, forwards = sum(c.planned.units for c in cells), sum(c.planned.forwards * c.planned.images for c in cells)
    work = f"at most {quote.draw_gradients:,} draw-gradients and {forwards:,} forward draws"
    yield f"work: {units:,} units, {quote.rows:,} rows, {work}"
    yield f"store: about {size(bill.row_bytes)} of rows and {size(bill.example_bytes)} of adversarial examples"
    if bill.hours is not None and bill.device_hours is not None:
        money = "" if bill.price is None else f", {bill.price:,.2f} USD at {asked.price:g} USD an hour"
        wall = f"{clock(3600 * bill.hours)} wall-clock on {asked.count:,}"
        yield f"cost: {_hours(bill.device_hours)} device-hours of {quote.device}{money}; {wall}"
    else:
        unknown = "all cells" if len(quote.unknown) == len(cells) else _named(quote.unknown)
        yield f"cost: unknown on {quote.device}, for {unknown}" if asked.gpu else "cost: not measured, as --no-calibrate asks"
        yield (
            f"rates are known of {', '.join(cell_cost.gpus())} for torchvision:resnet50; "
            "for others, plan on such a machine, or assume draw-gradients a second with --rate"
        )
    for source in dict.fromkeys(cell.rated.source for cell in cells if cell.rated.speed):
        names = [name for name, cell in quote.cells.items() if cell.rated.source == source]
        yield f"rates of {'all cells' if len(names) == len(quote.cells) else _named(names)}: {source}"


def _named(names: Sequence[str]) -> str:
    """Return the first of many names, in one text."""
    return ", ".join(names) if len(names) <= FEW else f"{', '.join(names[:FEW])} and {len(names) - FEW} more"


def size(count: float) -> str:
    """Return a number of bytes for a person, such as 1.2 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
