"""Define `barrage verify`: check that a store is what its campaign describes."""

from typing import Annotated

import typer
from rich.text import Text

from pipeline.cli.common import Modules, StoreUrl, allow, answer, device, out


def verify(
    store: StoreUrl,
    sample: Annotated[int, typer.Option(min=0, help="images to judge again, spread evenly over the cells")] = 8,
    allow_module: Modules = None,
) -> None:
    """Prove that a store holds every planned row once, and that its verdicts are right: barrage verify stores/demo"""
    from pipeline.campaigns.job import opened
    from pipeline.campaigns.verification.verify import verify as check

    allow(allow_module)
    faults = 0
    job = opened(store)
    for fault in check(job, sample, device(job.workers)):
        faults += 1
        answer(fault)
    judged = f", {sample} images judged again" if sample else ""
    said = f"{faults} faults" if faults else f"verified: every planned row once{judged}"
    out.print(Text(said, "red" if faults else "green"))
    raise typer.Exit(1 if faults else 0)
