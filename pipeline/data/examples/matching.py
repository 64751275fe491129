"""Find the example of each image: by its key, or by the order of shards and images."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from torch import Tensor

from pipeline.config.attacks import Attack, Examples
from pipeline.data import shards
from pipeline.data.examples.files import Source, opened
from pipeline.data.shards import Sample, Shard
from pipeline.errors import BadInput

BAD = "bad_example"
"""The status of an image whose example cannot be used."""


def checked(attack: Attack) -> Any:
    """Return the attack with the hash of its examples, and how they are matched, filled in. Raises BadInput, StorageError."""
    if not isinstance(attack, Examples):
        return attack
    source = opened(attack.path)
    if attack.sha256 not in (None, source.sha256):
        raise BadInput(
            f"examples {attack.path} have SHA-256 {source.sha256}, expected {attack.sha256}: use the right ones, or correct "
            "sha256"
        )
    if attack.match == "key" and source.keys is None:
        raise BadInput(f"examples {attack.path} have no keys: add an array `keys` of texts, or take match: order")
    match = attack.match or ("order" if source.keys is None else "key")
    return attack.model_copy(update={"sha256": source.sha256, "match": match})


def fit(attack: Examples, crop: int, present: Sequence[Shard], images: Mapping[str, int]) -> None:
    """Raise BadInput unless there is one example for each image of a campaign, of its size and, where known, its label.

    images  how many of each shard are attacked, {shard: images}
    """
    source, where = opened(attack.path), f"examples {attack.path}"
    if source.side not in (None, (crop, crop)):
        raise BadInput(f"{where} have {source.side[0]} x {source.side[1]} px, the campaign's images have {crop} (data.crop)")
    clean = [sample for shard in present for sample in shards.listed(shard)[: images[shard.name]]]
    if attack.match == "order" and source.count != len(clean):
        raise BadInput(
            f"{where} are {source.count}, the campaign has {len(clean)} images: give one for each, or set data.limit"
        )
    if attack.match == "key":
        _same(where, source.keys or (), [sample.key for sample in clean])
    place_of = _places(attack, source)
    for number, sample in enumerate(clean):
        place = place_of(sample.key, number)
        if source.labels and sample.status == "ok" and source.labels[place] != sample.label:
            raise BadInput(
                f"{where}: the example of image {sample.key} has the label {source.labels[place]}, its shard says "
                f"{sample.label}: are they in the order of the campaign's images?"
            )
        if source.side and isinstance(found := source.read([place])[0], str):
            raise BadInput(f"{where}, image {sample.key}: {found}")


def given(
    attack: Examples, source: Source, shard: str, images: Mapping[str, int], samples: Mapping[int, Sample], crop: int
) -> dict[str, Tensor | str]:
    """Return the example of each of a shard's `samples`, {its place in the shard: sample}, by the key of its image.

    An example is (3, crop, crop) float32 in [0, 1]; a text says why one cannot be used.
    """
    first = sum(count for name, count in islice(images.items(), list(images).index(shard)))
    place_of = _places(attack, source)
    found = source.read([place_of(sample.key, first + place) for place, sample in samples.items()])
    return {sample.key: _sized(example, crop) for sample, example in zip(samples.values(), found, strict=True)}


def _places(attack: Examples, source: Source) -> Callable[[str, int], int]:
    """Return the function that finds an example: from the key of its image, and the image's number in the campaign."""
    if attack.match == "order":
        return lambda key, number: number
    known = {key: place for place, key in enumerate(source.keys or ())}
    return lambda key, number: known[key]


def _sized(example: Tensor | str, crop: int) -> Tensor | str:
    if isinstance(example, str) or example.shape == (3, crop, crop):
        return example
    return f"its example has {example.shape[1]} x {example.shape[2]} px, expected {crop} x {crop}"


def _same(where: str, keys: Sequence[str], names: Sequence[str]) -> None:
    """Raise BadInput unless examples have the keys of the images, each once."""
    for what, listed in (("examples", keys), ("images", names)):
        twice = [key for key, times in Counter(listed).items() if times > 1]
        if twice:
            raise BadInput(f"{where}: the key {twice[0]} stands for two {what}: take match: order")
    foreign, missing = sorted(set(keys) - set(names)), sorted(set(names) - set(keys))
    if foreign:
        raise BadInput(
            f"{where}: {len(foreign)} of {len(keys)} keys are of no image of the campaign, such as {foreign[0]}; expected keys "
            f"such as {names[0]}, or take match: order"
        )
    if missing:
        raise BadInput(
            f"{where}: {len(missing)} of {len(names)} images have no example, such as {missing[0]}: add the image itself where "
            "nothing was found, so that the attack is not judged on its successes alone"
        )
