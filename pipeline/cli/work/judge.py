"""Define `barrage judge`: judge examples that any tool made, by fresh draws, beside their clean images."""

import time
from enum import StrEnum
from typing import Annotated

import typer

from pipeline.cli import completion
from pipeline.cli.common import CampaignFile, Here, Modules, allow, note, store_of
from pipeline.cli.work.run import How, answering, work


class Match(StrEnum):
    KEY = "key"
    ORDER = "order"


class Norm(StrEnum):
    LINF = "linf"
    L2 = "l2"


def judge(
    campaign: CampaignFile,
    examples: Annotated[
        str, typer.Argument(help="a .npz, .npy, .pt or .pth file of images, a folder of PNG, or WebDataset tars by a pattern")
    ],
    store: Annotated[
        str | None,
        typer.Option(help="where results go; default: judge/NAME in the campaign's store", autocompletion=completion.stores),
    ] = None,
    cell: Annotated[
        list[str] | None,
        typer.Option(
            help="a cell whose model and defense judge; repeat the option for more; default: those of all cells",
            autocompletion=completion.cells,
        ),
    ] = None,
    eps: Annotated[
        str | None, typer.Option(help="radius of the ball, such as 8/255; default: that of the campaign's attacks")
    ] = None,
    norm: Annotated[Norm | None, typer.Option(help="norm of the ball; default: that of the campaign's attacks")] = None,
    match: Annotated[
        Match | None, typer.Option(help="how examples find their images; default: by key where they have keys")
    ] = None,
    here: Here = False,
    allow_module: Modules = None,
) -> None:
    """Judge examples that any tool made by fresh draws, beside their clean images: barrage judge campaigns/demo.yaml adv.npz"""
    from pipeline.campaigns import judging
    from pipeline.campaigns.prepare import prepare
    from pipeline.config.campaign import load
    from pipeline.scoring.rules import RULES

    began = time.monotonic()
    allow(allow_module, campaign)
    if not here:
        answering(None)
    config = load(campaign)
    judged = judging.campaign_of(config, examples, match, judging.Ball(norm, eps), cell or ())
    url = store or f"{store_of(config, None)}/judge/{judging.name_of(examples)}"
    options = [("--eps", eps), ("--norm", norm), ("--match", match), *(("--cell", name) for name in cell or ())]
    words = ["judge", str(campaign), examples, *(str(part) for option in options if option[1] for part in option)]
    job = prepare(judged, url, note)
    raise typer.Exit(work(job, began, words, list(RULES.working()), How(here)))
