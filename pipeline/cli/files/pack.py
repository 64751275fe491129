"""Define `barrage pack`: write labelled images as WebDataset shards."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import answer


def pack(
    source: Annotated[str, typer.Argument(help="a folder of images, or `demo` for the 20 photographs of foolbox")],
    folder: Annotated[str, typer.Argument(help="where the shards go: a folder, or a URL such as s3://bucket/photos")],
    labels: Annotated[
        str, typer.Option(help="where labels come from: `folder`, `name` (..._CLASS.jpg), or a CSV of file name, class")
    ] = "folder",
    per_shard: Annotated[int, typer.Option(min=1, help="images of one shard")] = 1000,
    prefix: Annotated[str, typer.Option(help="shards are called PREFIX-000000.tar")] = "images",
) -> None:
    """Write labelled images as WebDataset shards: barrage pack photos/ data/photos --labels folder"""
    from pipeline.data.pack import labelled, photographs
    from pipeline.data.pack import pack as write

    images = labelled(photographs(), "name", "imagenet_*") if source == "demo" else labelled(Path(source), labels)
    for shard in write(images, folder, prefix, per_shard):
        answer(shard)
