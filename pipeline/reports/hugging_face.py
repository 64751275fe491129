"""Write a store's rows as a dataset of the Hugging Face Hub: a Parquet file for each cell, and a card that describes them."""

import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pipeline import provenance
from pipeline.campaigns.job import opened
from pipeline.config.campaign import Campaign
from pipeline.errors import BadInput, StorageError
from pipeline.escaped import markdown
from pipeline.scoring import summaries
from pipeline.scoring.rules import RULES
from pipeline.store import committed
from pipeline.store.export import COLUMNS, export
from pipeline.store.layout import Store
from pipeline.store.mixing import batches

EVERY = "all"
"""The configuration with the rows of every cell; the others have the names of cells."""

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
"""How the Hub names numbers of rows, by their upper end."""

CITATION = """@inproceedings{raff2019barrage,
  title = {Barrage of Random Transforms for Adversarially Robust Defense},
  author = {Raff, Edward and Sylvester, Jared and Forsyth, Steven and McLean, Mark},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  pages = {6528--6537},
  month = jun,
  year = {2019}
}"""
"""The article that defines the barrage, as of CITATION.cff."""

_TEMPLATE = Path(__file__).with_name("data_card.md")


def publish(url: str, folder: Path, cells: Collection[str] | None = None, licence: str | None = None) -> int:
    """Write the rows of a store, of all cells or some, to a new folder that is ready to upload; return how many there are.

    licence  as the Hub writes it, such as cc-by-4.0; None: the card names none
    The folder appears when it is whole. Raises BadInput for a folder that holds something, for a licence that the Hub would not
    understand, and as `batches` does; StorageError if the files cannot be written.
    """
    _refuse(folder, licence)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        (aside / "data").mkdir(parents=True)
        counts = {cell: export(url, aside / file_of(cell), [cell], {}) for cell in _named(url, cells)}
        campaign = opened(url).campaign
        (aside / "README.md").write_text(card(url, campaign, counts, licence))
        if names := campaign.data.names:
            (aside / "classes.txt").write_text("".join(f"{name}\n" for name in names))
        os.rename(aside, folder)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {error.strerror or error}; give another place, or make room"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return sum(counts.values())


def file_of(cell: str) -> str:
    """Return the name of the file with a cell's rows."""
    return f"data/{cell}.parquet"


def card(url: str, campaign: Campaign, counts: Mapping[str, int], licence: str | None) -> str:
    """Return the README.md of a dataset; `counts` are the rows of each cell."""
    lines = summaries.lines(batches(url, summaries.columns(RULES.working()), counts), RULES.working(), opened(url).scopes())
    text = _TEMPLATE.read_text().format(
        title=campaign.name,
        rows=f"{sum(counts.values()):,}",
        cells=len(counts),
        release=provenance.release(),
        example=next(iter(counts)),
        draws=campaign.evaluation_draws,
        rules="\n".join(f"- `{name}`: {rule.about}" for name, rule in RULES.working().items()),
        table=summaries.markdown([replace(line, cell=markdown(line.cell), rule=markdown(line.rule)) for line in lines]),
        columns=_columns(),
        campaign=yaml.safe_dump(_published(campaign), sort_keys=False, allow_unicode=True),
        citation=CITATION,
    )
    head = yaml.safe_dump(header(campaign.name, counts, licence), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n{text}"


def header(name: str, counts: Mapping[str, int], licence: str | None) -> dict[str, Any]:
    """Return what the head of a card says to the Hub and to the library `datasets`."""
    size = next((text for end, text in SIZES.items() if sum(counts.values()) < end), "n>10M")
    files = {EVERY: [file_of(cell) for cell in counts]} | {cell: [file_of(cell)] for cell in counts}
    return {
        **({"license": licence} if licence else {}),
        "pretty_name": name,
        "task_categories": ["image-classification"],
        "tags": ["adversarial-robustness", "randomised-defense", "barrage"],
        "size_categories": [size],
        "configs": [
            {"config_name": config, "data_files": [{"split": "test", "path": paths}], "default": config == EVERY}
            for config, paths in files.items()
        ],
    }


def _refuse(folder: Path, licence: str | None) -> None:
    if licence is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence):
        raise BadInput(f"--license {licence!r}: expected a licence as the Hub writes it, such as cc-by-4.0, mit or other")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} is there already: give a new folder, such as {folder.with_name(f'{folder.name}-new')}")
    if not folder.absolute().parent.is_dir():
        raise BadInput(f"there is no folder {folder.absolute().parent}: make it first, or give a folder in another one")


def _named(url: str, cells: Iterable[str] | None) -> list[str]:
    """Return the cells to write: those asked for, else all that have rows."""
    found = list(dict.fromkeys(cells or ())) or list(committed.files(Store(url))[1])
    if not found:
        raise BadInput(f"store {url} holds no rows yet: give the folder that `barrage run` wrote to, or wait for a first unit")
    return found


def _columns() -> str:
    """Return the columns with their descriptions, as a Markdown table."""
    rows = [f"| `{field.name}` | {field.type} | {field.metadata[b'description'].decode()} |" for field in COLUMNS]
    return "\n".join(["| column | type | what it holds |", "| --- | --- | --- |", *rows])


def _published(campaign: Campaign) -> dict[str, Any]:
    """Return the settings that decide the numbers; of files only their names, since folders are private."""
    left_out = {"store", "workers", "data", "name", "save_adversarial", "unit_images"}
    data = {key: getattr(campaign.data, key) for key in ("limit", "resize", "crop", "exif")}
    return dict(_without_folders(campaign.model_dump(mode="json", exclude=left_out) | {"data": data}))


def _without_folders(value: Any) -> Any:
    """Return settings without keys that have no value, and with the last part of texts that are paths."""
    if isinstance(value, Mapping):
        return {key: _without_folders(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_folders(part) for part in value]
    return value.rstrip("/").rpartition("/")[2] if isinstance(value, str) else value
