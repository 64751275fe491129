"""Define the campaign file: one frozen, typed object that decides the numbers, checked whole before anything starts."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

import bart
from barrage_plugins import load_allowed
from pipeline.config import attacks, contents, defenses, definitions
from pipeline.config.attacks import AnyAttack
from pipeline.config.choices import Choice
from pipeline.config.defenses import AnyDefense
from pipeline.config.fields import ONE_OR_MORE, WORDNET, Name, Share, Strict, known_keys
from pipeline.config.framing import Framing
from pipeline.config.model import Model
from pipeline.config.yaml_loader import plain
from pipeline.errors import BadInput
from pipeline.scoring.rules import RULES

File = TypeVar("File", bound=BaseModel)

KnownKeys = Callable[[tuple[Any, ...]], list[str]]
"""The keys of the section at a location of a file."""

Skip = Literal["single", "vote", "mean"]
"""Decision rules by which an image counts as misclassified; `single`: no draw is right."""


class Data(Strict):
    """Labelled images, of one of `shards`, `folder` and `table`; see docs/images.md."""

    shards: Annotated[list[str], Field(min_length=1), ONE_OR_MORE] = Field(
        [],
        description="paths, URLs or patterns, such as photos-{000000..000009}.tar: WebDataset tars, also gzipped; Parquet "
        "files with the columns image and label, as Hugging Face writes them; .npz or .npy files of images and labels",
    )
    folder: str | None = Field(None, description="a folder of images: the folders in it are the classes, as of ImageFolder")
    table: str | None = Field(None, description="a CSV or Parquet file of paths, from its own folder on, and labels")
    limit: int | None = Field(
        None, ge=1, description="use only the first images, this many, in the order of the shards; default: all"
    )
    resize: int | None = Field(256, ge=32, description="length of the shorter side after resizing (bicubic), or null")
    crop: int = Field(224, ge=32, description="side of the square cut from the centre")
    exif: bool = Field(
        False, description="turn images as their EXIF orientation says; default: as they are stored, as torchvision leaves them"
    )
    classes: list[str] | str | None = Field(
        None,
        description="the classes in the order of their labels: a text file with one in each line, `imagenet`, or a list; "
        "names, or WordNet ids with or without a name. The folders of `folder` and the words of `table` are looked up there; "
        "elsewhere they only show labels. Default: the folders, sorted, or the names kept with the shards",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "Data":
        given = [name for name in ("shards", "folder", "table") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"has {' and '.join(given) or 'no images'}: give one of shards, folder and table")
        return self

    @model_serializer(mode="wrap")
    def _as_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out shards where there are none: an empty list is refused in a file."""
        return {name: value for name, value in dump(self).items() if name != "shards" or value}

    @property
    def places(self) -> dict[str, str]:
        """Return every path, URL or pattern that images come from: {what it is: path}."""
        found = {f"data.shards {pattern}": pattern for pattern in self.shards}
        return found | {f"data.{name}": place for name in ("folder", "table") if (place := getattr(self, name))}

    @property
    def names(self) -> list[str]:
        """Return the names of the classes by label, without WordNet ids; of a resolved campaign, none if they are not known."""
        return [_without_id(line) for line in self.classes or ()]

    def named(self, label: int) -> str:
        """Return a label as a person reads it: with the name of its class, where it is known."""
        return (
            f"{label} ({_without_id(self.classes[label])})" if self.classes and 0 <= label < len(self.classes) else str(label)
        )


def _without_id(line: str) -> str:
    """Return the name of a class from the line that names it."""
    found = WORDNET.fullmatch(line)
    return (found[2] or line) if found else line


class Grid(Strict):
    """Cells: every combination of the listed names."""

    model: Annotated[list[Name], ONE_OR_MORE] = Field(min_length=1, description="names of `models`; one name needs no brackets")
    defense: Annotated[list[Name], ONE_OR_MORE] = Field(
        min_length=1, description="names of `defenses`; one name needs no brackets"
    )
    attack: Annotated[list[Name], ONE_OR_MORE] = Field(
        min_length=1, description="names of `attacks`; one name needs no brackets"
    )


class Stop(Strict):
    """When a cell ends: its interval is narrow enough."""

    interval: float = Field(gt=0, lt=0.5, description="half the width of the 95 % interval of the attacked accuracy, in [0, 1]")
    rule: Annotated[str, Choice(RULES)] = Field("single", description="decision rule of this accuracy")
    minimum_images: int = Field(500, ge=2, description="no interim check with fewer images than this")


class Cell(Strict):
    """Hold one (model, defense, attack), whole: its hash is the identity of every number that comes out of it."""

    name: Name
    model_name: Name
    defense_name: Name
    attack_name: Name
    model: Model
    defense: AnyDefense
    attack: AnyAttack
    evaluation_draws: int
    seed: int
    resize: int | None
    crop: int
    exif: bool = False
    skip_misclassified: Skip | None = None

    @property
    def framing(self) -> Framing:
        """Return how images are resized and cropped, besides the lengths."""
        return self.model.framing

    @property
    def built(self) -> bart.Attack:
        """Return the attack."""
        return self.attack.build(self.defense.random)

    @property
    def eot_draws(self) -> int:
        """Return the draws per gradient; 1 if nothing is random."""
        return self.attack.eot_draws if self.defense.random and not self.attack.transfer else 1

    @property
    def judged_by(self) -> int:
        """Return the number of evaluation draws; 1 if nothing is random."""
        return self.evaluation_draws if self.defense.random else 1

    @property
    def cost(self) -> bart.Cost:
        """Return the cost of attacking one image, without its verdict. With `first_break` it is the most that may be spent."""
        return self.built.cost

    @property
    def draws_judged(self) -> int:
        """Return the draws of one image that need no gradient: those of the attack and of both verdicts."""
        return self.cost.forwards + 2 * self.judged_by

    @property
    def versions(self) -> definitions.Versions:
        """Return the versions of the definitions that decide the numbers."""
        rules = [self.skip_misclassified] if self.skip_misclassified else []
        return definitions.used(self.defense, self.attack, rules)

    @property
    def identity(self) -> str:
        """Return the hash of what decides the numbers."""
        changed = definitions.changed(self.versions)
        return _hash(self._decisive() | ({"versions": changed} if changed else {}))

    @property
    def defended_identity(self) -> str:
        """Return the hash of what judges: the model with its weights and the size of its images, the defense, and the versions
        of their definitions. Names that a user gives, the attack, the number of draws and the seed are no part of it.
        """
        parts = {part: content for part, content in self._decisive().items() if part in ("model", "resize", "crop")}
        parts["model"].pop(contents.KEY, None)  # code that was edited judges by the same draws
        parts["defense"] = self.defense.judging()
        return _hash(parts | {"versions": definitions.changed(definitions.used_to_judge(self.defense))})

    def _decisive(self) -> dict[str, Any]:
        """Return what decides the numbers, without versions; where weights have a hash, their path is only a place.

        What came later than release 0.1 enters only where it differs from what that release did.
        """
        model = {name: value for name, value in self.model.deciding().items() if name not in ("resize", "crop")}
        content = self.model_dump(mode="json", exclude={"model", "defense"})
        content |= {"model": model, "defense": self.defense.deciding()}  # the cell has the lengths
        if content["attack"].pop("networks", None) is None:
            content["attack"].pop("networks_sha256", None)
        if content["attack"].get("frequencies") == 1:
            del content["attack"]["frequencies"]
        for name in self.attack.undecisive:
            del content["attack"][name]
        if not content["exif"]:
            del content["exif"]
        if content["skip_misclassified"] is None:
            del content["skip_misclassified"]
        return content


class Workers(Share):
    """How the work is spread; decides no number."""

    stack: int | None = Field(
        None, ge=1, description="draws that are computed at once; default: 4 on a CPU, as many as fit on a GPU"
    )
    checkpoint_seconds: float = Field(
        120,
        gt=0,
        description="seconds between two checkpoints of a running unit; up to five times as many where they would cost more "
        "than 1 % of the worker's time; see docs/units.md",
    )


class Campaign(Strict):
    """The whole file."""

    name: Name = Field(description="name of the campaign; default store: stores/NAME")
    seed: int = Field(0, description="seed of all randomness: draws, random starts, random targets, the order of images")
    data: Data = Field(description="images")
    models: dict[Name, Model] = Field(min_length=1, description="classifiers, by names that you choose")
    defenses: dict[Name, AnyDefense] = Field(min_length=1, description="defenses, by names that you choose")
    attacks: dict[Name, AnyAttack] = Field(min_length=1, description="attacks, by names that you choose")
    cells: list[Grid] = Field(min_length=1, description="what to measure; each combination is called MODEL-DEFENSE-ATTACK")
    evaluation_draws: int = Field(20, ge=1, description="fresh draws that judge each image, clean and adversarial")
    unit_images: int | None = Field(
        None, ge=1, description="images of one unit; default: a quarter of an hour of a worker, see docs/units.md"
    )
    stop: Stop | None = Field(
        None, description="end a cell when its interval is narrow enough; default: never; see docs/units.md"
    )
    save_adversarial: bool = Field(True, description="keep the 8-bit examples as PNG beside the rows")
    skip_misclassified: Skip | None = Field(
        None,
        description="do not attack images that this decision rule gets wrong without an attack: the image is its own example. "
        "Exact for the attacked top-1 of this rule. Targeted attacks run on every image. Default: attack all images",
    )
    store: str | None = Field(None, description="folder or URL of the results; default: stores/NAME; --store overrides it")
    workers: Workers = Field(Workers(), description="how the work is spread; decides no number")

    @model_validator(mode="after")
    def _names_exist(self) -> "Campaign":
        for grid in self.cells:
            for kind in ("model", "defense", "attack"):
                known: dict[str, Any] = getattr(self, "attacks" if kind == "attack" else kind + "s")
                for name in getattr(grid, kind):
                    if name not in known:
                        raise ValueError(f"cells name the {kind} {name!r}, which is not defined{_nearest(name, known)}")
        names = [cell.name for cell in self.grid()]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"cells give {sorted(twice)[0]!r} twice; list each combination once")
        return self

    def limited(self, images: int | None) -> "Campaign":
        """Return the campaign with another `data.limit`; None: the campaign as it is."""
        return self if images is None else self.model_copy(update={"data": self.data.model_copy(update={"limit": images})})

    def grid(self) -> Iterator[Cell]:
        """Yield the cells, in the order of the file."""
        for grid in self.cells:
            for m in grid.model:
                for d in grid.defense:
                    for a in grid.attack:
                        yield Cell(
                            name=f"{m}-{d}-{a}",
                            model_name=m,
                            defense_name=d,
                            attack_name=a,
                            model=self.models[m],
                            defense=self.defenses[d],
                            attack=self.attacks[a],
                            evaluation_draws=self.evaluation_draws,
                            seed=self.seed,
                            resize=self.models[m].resize or self.data.resize,
                            crop=self.models[m].crop or self.data.crop,
                            exif=self.data.exif,
                            skip_misclassified=self.skip_misclassified if self.attacks[a].goal == "untargeted" else None,
                        )


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def load(path: str | Path, say: Callable[[str], None] | None = None) -> Campaign:
    """Read a campaign from a YAML file, and `say` what the presets in it mean. Raises BadInput if it is missing or wrong."""
    found = content(path, "campaign", "campaigns/demo.yaml")
    campaign = parse(found, str(path))
    if say:
        for line in attacks.meaning(found["attacks"]):
            say(line)
    return campaign


def content(path: str | Path, what: str, example: str) -> Any:
    """Read a YAML file. `what` it should be and the path of an `example` are for the message.

    Raises BadInput if the file does not exist or is no valid YAML.
    """
    path = Path(path)
    try:
        return plain(path.read_text())
    except (FileNotFoundError, IsADirectoryError):
        raise BadInput(f"{what} {path} does not exist: give the path of a YAML file, such as {example}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{what} {path} is no valid YAML: {' '.join(str(error).split())}") from None


def parse(content: Any, source: str) -> Campaign:
    """Return a campaign from parsed YAML. Raises BadInput with the first thing that is wrong."""
    load_allowed()  # modules that the user allowed may add kinds
    return validated(Campaign, content, f"campaign {source}", partial(_known_keys, content))


def validated(schema: type[File], values: Any, source: str, known: KnownKeys | None = None) -> File:
    """Return parsed YAML, checked against a schema. Raises BadInput with the first mistake.

    `source` names the file in messages, such as "training x.yaml"; `known` returns the keys of the section at a location of the
    file (default: those of the schema).
    """
    if not isinstance(values, dict):
        raise BadInput(f"{source}: expected a mapping with the keys {', '.join(schema.model_fields)}")
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"{source}, {where}: {explain(first, known or partial(known_keys, schema))}") from None


def explain(error: Any, known: KnownKeys) -> str:
    """Return a pydantic error as one line: the value, what was expected, what to do.

    `known` returns the keys of the section at a location of the file.
    """
    if error["type"] == "extra_forbidden":
        return f"unknown key{_nearest(str(error['loc'][-1]), known(error['loc'][:-1]))}"
    if error["type"] == "union_tag_invalid":
        return f"unknown kind {error['ctx']['tag']!r}{_nearest(error['ctx']['tag'], _quoted(error['ctx']['expected_tags']))}"
    if error["type"] == "missing":
        return "is missing: add it"
    message = re.sub(r"^Value error, ", "", error["msg"])
    return message if error["type"] == "value_error" else f"{error['input']!r}: {message[0].lower()}{message[1:]}"


def _quoted(text: str) -> list[str]:
    """Return the names of a list such as "'pgd', 'fgsm'"."""
    return re.findall(r"'([^']+)'", text)


def _known_keys(content: dict[str, Any], location: tuple[Any, ...]) -> list[str]:
    """Return the keys of the section at `location` of the file, whose parsed YAML is `content`."""
    named = {"attacks": attacks.SECTION, "defenses": defenses.SECTION}
    if location and location[0] in named:
        return named[location[0]].keys(content[location[0]][location[1]])
    sections: dict[str, type[BaseModel]] = {
        "data": Data, "models": Model, "cells": Grid, "workers": Workers, "stop": Stop,
    }  # fmt: skip
    return list((sections[location[0]] if location else Campaign).model_fields)


def _nearest(name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
