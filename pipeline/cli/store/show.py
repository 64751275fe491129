"""Define `barrage show`: draw one image under each attack."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import Cells, Modules, StoreUrl, allow, answer, refuse_place


def show(
    store: StoreUrl,
    image: Annotated[str, typer.Argument(help="the key of an image, as in the column image_key")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="the picture to write; default: IMAGE.png")] = None,
    cell: Cells = None,
    shard: Annotated[str | None, typer.Option(help="the shard that holds it, where several hold the key")] = None,
    draws: Annotated[int, typer.Option(min=1, help="draws of the defense that are shown, transform by transform")] = 1,
    allow_module: Modules = None,
) -> None:
    """Draw one image under each attack, clean and adversarial: barrage show stores/demo imagenet_01_559 -o story.png"""
    allow(allow_module)
    path = output or Path(f"{Path(image).name}.png")
    refuse_place(path, "-o", "story.png")
    from pipeline.reports.image_trace import story

    cells = story(store, image, path, cell, shard, draws)
    answer(f"{path}: {image} in {', '.join(cells)}")
