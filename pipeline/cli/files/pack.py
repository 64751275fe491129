"""Define `barrage pack`: write labelled images as WebDataset shards."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import answer, note


class Sort(StrEnum):
    """Name the orders of folders."""

    AUTO = "auto"
    TEXT = "text"
    NUMBER = "number"


def pack(
    source: Annotated[str, typer.Argument(help="a folder of images, or `demo` for the 20 photographs of foolbox")],
    folder: Annotated[str, typer.Argument(help="where the shards go: a folder, or a URL such as s3://bucket/photos")],
    labels: Annotated[
        str,
        typer.Option(
            help="where labels come from: `folder` (as torchvision's ImageFolder), `name` (..._CLASS.jpg), "
            "or a CSV of file name, class"
        ),
    ] = "folder",
    classes: Annotated[
        str | None,
        typer.Option(
            help="the classes in the order of their labels: a text file, a name or a WordNet id in each line, or `imagenet`; "
            "default: the folders, sorted"
        ),
    ] = None,
    sort: Annotated[
        Sort, typer.Option(help="order of the folders; auto: as numbers if all are numbers, else as text")
    ] = Sort.AUTO,
    per_shard: Annotated[int, typer.Option(min=1, help="images of one shard")] = 1000,
    prefix: Annotated[str, typer.Option(help="shards are called PREFIX-000000.tar")] = "images",
) -> None:
    """Write labelled images as WebDataset shards: barrage pack photos/ data/photos --labels folder"""
    from pipeline.data.pack import labelled, photographs
    from pipeline.data.pack import pack as write
    from pipeline.data.pack.classes import of_file
    from pipeline.data.pack.labels import counts

    known = of_file(classes) if classes else None
    demo = source == "demo"
    photos = ("imagenet_*", known) if demo else ("*", known, sort.value)
    found = labelled(photographs() if demo else Path(source), "name" if demo else labels, *photos)
    for line in [*found.notes, *(found.classes.described(counts(found.images)) if found.classes else ())]:
        note(line)
    for shard in write(found.images, folder, prefix, per_shard, found.classes):
        answer(shard)
