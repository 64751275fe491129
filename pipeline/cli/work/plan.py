"""Define `barrage plan`: estimate what a campaign will cost, before it starts."""

from typing import Annotated

import typer

from pipeline.cli.common import CampaignFile, Limit, Modules, allow, note, out


def plan(
    campaign: CampaignFile,
    gpu: Annotated[str | None, typer.Option(help="the kind of GPU, such as h100; default: the device of this machine")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="USD for an hour of one device")] = None,
    gpus: Annotated[int, typer.Option(min=1, help="number of devices")] = 1,
    rate: Annotated[
        float | None, typer.Option(min=1e-9, help="draw-gradients/s to assume for cells whose rate is not known")
    ] = None,
    calibrate: Annotated[bool, typer.Option(help="measure on this machine, seconds for each kind of cell")] = True,
    images: Annotated[
        int | None, typer.Option(min=1, help="plan for this many images, without any shards; default: those of the shards")
    ] = None,
    limit: Limit = None,
    allow_module: Modules = None,
) -> None:
    """Show what a campaign will cost, before anything is spent: barrage plan campaigns/demo.yaml --gpus 8 --price 2.5"""
    from pipeline.config.campaign import load
    from pipeline.costs.campaign_cost import Asked, quote
    from pipeline.costs.quote_text import show

    allow(allow_module, campaign)
    asked = Asked(gpu, gpus, price, rate, calibrate, images)
    show(quote(load(campaign, note).limited(limit), asked, note), out)
