"""Define an entry of the board: what one store says of one defense under one threat, as a small JSON file.

entries/<campaign>-<cell of the standard attack>.json, with the format in front and the hash of all of it at the end, so that a
change by hand shows.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from pipeline.config.campaign import validated
from pipeline.config.fields import Name, Strict
from pipeline.errors import BadInput
from pipeline.scoring.intervals import Rate, Sample
from pipeline.store import formats

FOLDER = "entries"
"""Where the entries of a board are, in its folder."""

LARGEST = 200_000
"""Bytes of an entry, at most: some 10,000 are usual."""

URL = r"^https?://[A-Za-z0-9._~:/?#@!$&*+,;=%-]+$"
"""Addresses of the web, without any character that ends a link in Markdown or HTML."""

Text = Annotated[str, Field(min_length=1, max_length=300)]
Link = Annotated[str, Field(pattern=URL, max_length=500)]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Identity = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Count = Annotated[int, Field(ge=0, le=10**12)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Shares = dict[Annotated[str, Field(pattern=r"^\d{1,6}/\d{1,6}$")], Count]
"""{"right/of": images}: how many images have that share of right draws; 0/1 and 1/1 where an image is right or wrong."""

Plain = str | int | float | bool | None
Inner = Plain | list[Plain] | dict[str, Plain]
Part = Inner | list[Inner] | dict[str, Inner]
Settings = dict[str, Part | list[Part] | dict[str, Part]]
"""Settings of a campaign file as plain values; those of a composition hold those of its parts."""

CLOSE = 1e-9
"""Rates no further apart are the same: floating point may add in another order."""

State = Literal["passed", "failed", "reported", "missing"]
"""What became of a check."""


class Submission(Strict):
    """Name who submits it, a link to what was submitted, and what to cite."""

    by: Text
    link: Link
    citation: Text


class Data(Strict):
    """Describe the images: the name of the data set, the SHA-256 of each shard, how many images; lengths in px."""

    dataset: Text
    shards: dict[str, Hash]
    images: Count
    resize: Count | None
    crop: Count


class Weights(Strict):
    """Describe the model: its name in the campaign, its architecture, the SHA-256 of its weights, None without a file."""

    name: Name
    architecture: Text
    classes: Count
    weights_sha256: Hash | None


class Defended(Strict):
    """Describe the defense: its name in the campaign, in words, and all its settings as a campaign file writes them."""

    name: Name
    summary: Text
    settings: Settings
    random: bool


class Measured(Strict):
    """Hold a rate in [0, 1], the ends of its 95 % interval, and the shares of images from which both follow."""

    value: Fraction
    low: Fraction
    high: Fraction
    shares: Shares

    @property
    def images(self) -> int:
        return sum(self.shares.values())

    @field_validator("shares")
    @classmethod
    def _at_most_all_draws(cls, shares: Shares) -> Shares:
        for right, of in (map(int, share.split("/")) for share in shares):
            if not of or right > of:
                raise ValueError(f"{right}/{of} is no share of draws")
        return shares

    def recomputed(self) -> Rate | None:
        """Return the rate that the shares give; None without images."""
        found = np.array([int(right) / int(of) for right, of in (share.split("/") for share in self.shares)])
        counts = np.array(list(self.shares.values()), np.float64)
        return (Sample(found, counts) + Sample.of([])).rate  # adding sorts, and merges what is the same

    @property
    def kept(self) -> bool:
        """Return whether rate and interval are those of the shares."""
        found = self.recomputed()
        pairs = [(found.value, self.value), (found.low, self.low), (found.high, self.high)] if found else []
        return bool(pairs) and all(abs(a - b) <= CLOSE for a, b in pairs)


class Sides(Strict):
    """Hold the top-1 accuracy of the same images, clean and attacked, under one decision rule."""

    clean: Measured
    attacked: Measured


class Attack(Strict):
    """Hold one cell: its attack with its settings, how far it got, what it cost, and the accuracy under every decision rule."""

    cell: Name
    identity: Identity
    settings: Settings
    planned: Count
    images: Count
    stopped: bool
    failed: Count
    blind: Count
    moved: Count
    evaluation_draws: Count
    draw_gradients: Count
    device_seconds: Annotated[float, Field(ge=0)]
    rules: dict[str, Sides]

    @property
    def kind(self) -> str:
        return str(self.settings.get("kind"))


class Worst(Strict):
    """Hold the accuracy under the worst attack of each image, rule `single`: `least` is a lower bound, `apart` an upper bound,
    and the truth is between `least.low` and `high` in 95 % of such samples (docs/intervals.md)."""

    attacks: Count
    least: Measured
    apart: Fraction
    high: Fraction


class Origin(Strict):
    """Name the commit, the libraries and the device that rows come from, and how many."""

    commit: str
    libraries: dict[str, str]
    device: str
    rows: Count


class Checks(Strict):
    """Hold the checks of the standard attack's cell: on how many images, and what became of each."""

    images: Count
    states: dict[str, State]


class Entry(Strict):
    """Hold one defense of one model under one threat, with everything that its page shows."""

    name: Name
    submission: Submission
    campaign: Name
    seed: int
    data: Data
    model: Weights
    defense: Defended
    norm: Text
    eps: Annotated[float, Field(gt=0)]
    goal: Text
    skip_misclassified: str | None
    attacks: list[Attack] = Field(min_length=1)
    worst: Worst | None
    checks: Checks
    definitions: dict[str, dict[str, int]]
    origins: list[Origin]

    @property
    def standard(self) -> Attack | None:
        """Return the cell of the standard attack; None where there is not exactly one."""
        found = [attack for attack in self.attacks if attack.kind == "standard"]
        return found[0] if len(found) == 1 else None

    def measured(self) -> Iterator[tuple[str, Measured]]:
        """Yield every rate with its place in words."""
        for attack in self.attacks:
            for rule, sides in attack.rules.items():
                yield f"{attack.cell}, {rule}, clean", sides.clean
                yield f"{attack.cell}, {rule}, attacked", sides.attacked
        if self.worst:
            yield "worst case", self.worst.least


def encode(entry: Entry) -> bytes:
    """Return the file of an entry."""
    return formats.to_json(entry.model_dump(mode="json")) + b"\n"


def read(path: Path) -> Entry:
    """Return the entry of a file. Raises BadInput for a file that was changed by hand, or that is no entry."""
    try:
        data = path.read_bytes()
        if len(data) > LARGEST:
            raise BadInput(f"{path} has {len(data)} bytes, an entry at most {LARGEST}: it is of another program")
        raw = json.loads(data)
    except BadInput:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(
            f"{path} cannot be read as JSON ({type(error).__name__}): write it again with barrage board add"
        ) from None
    if not isinstance(raw, dict) or formats.HASH not in raw:
        raise BadInput(f"{path} has no {formats.HASH}: entries are written by barrage board add, not by hand")
    try:
        content = formats.of_json(str(path), data)
    except formats.Damaged:
        raise BadInput(f"{path} was changed after it was written: write it again with barrage board add") from None
    found = validated(Entry, content, f"entry {path}")
    if path.stem != found.name:
        raise BadInput(f"{path} holds the entry {found.name}: call the file {found.name}.json")
    return found


def files(board: Path) -> list[Path]:
    """Return the files of the entries of a board. Raises BadInput where there is no board."""
    folder = board / FOLDER
    if not folder.is_dir():
        raise BadInput(f"{board} is no board: it has no folder {FOLDER}; give one with --board, or add a store first")
    return sorted(folder.glob("*.json"))
