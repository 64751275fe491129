"""Define `barrage replay`: attack one image again, and report whether its row comes out the same."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from pipeline.cli.common import Cells, Modules, StoreUrl, allow, answer, device, note, out, shown

if TYPE_CHECKING:
    from pipeline.campaigns.verification.replay import Difference, Replay


def replay(
    store: StoreUrl,
    image: Annotated[str, typer.Argument(help="the key of an image, as in the column image_key")],
    cell: Cells = None,
    shard: Annotated[str | None, typer.Option(help="only in this shard, where several hold the key; default: all")] = None,
    together: Annotated[
        bool, typer.Option("--together", help="attack the other images of its unit too, so that batches are as they were")
    ] = False,
    stack: Annotated[
        int | None,
        typer.Option(min=1, help="workers.stack of the run; default: 4 on a CPU, on a GPU what fits"),
    ] = None,
    allow_module: Modules = None,
) -> None:
    """Attack one image again, and report whether its row comes out the same: barrage replay stores/demo imagenet_01_559"""
    from pipeline.campaigns.job import opened
    from pipeline.campaigns.verification.replay import find, with_stack
    from pipeline.campaigns.verification.replay import replay as attack_again

    allow(allow_module)
    job, differ = with_stack(opened(store), stack), 0
    for row in find(store, image, cell, shard):
        note(f"{row['cell']}: attacking {row['image_key']} of {row['shard']} again")
        found = attack_again(job, row, device(job.workers), together)
        differ += bool(found.differences)
        _show(found)
    raise typer.Exit(1 if differ else 0)


def _show(found: "Replay") -> None:
    place = f"{found.row['cell']}, {found.row['shard']}"
    if not found.differences:
        answer(f"{place}: the same row, {found.compared} values")
        return
    answer(f"{place}: {len(found.differences)} of {found.compared} values differ")
    view = Table("column", "in the store", "now", box=box.SIMPLE_HEAD, pad_edge=False)
    for difference in found.differences:
        view.add_row(*map(shown, _cells(difference)))
    out.print(view)
    for reason in found.reasons:
        answer(f"  {reason}")


def _cells(difference: "Difference") -> tuple[str, str, str]:
    """Return a column's name and its two values; of lists only the first place that differs."""
    name, stored, now = difference.column, difference.stored, difference.now
    while isinstance(stored, list) and isinstance(now, list) and len(stored) == len(now):
        place = next(i for i, pair in enumerate(zip(stored, now, strict=True)) if pair[0] != pair[1])
        name, stored, now = f"{name}[{place}]", stored[place], now[place]
    return name, _text(stored), _text(now)


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
