"""Turn what a worker knows of an image into the columns of its row, and adversarial examples into a shard."""

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bart import Ball, State, Verdict
from bart.attacks.foreign import DISTANCE
from pipeline import provenance
from pipeline.campaigns.attempt import certificates
from pipeline.config.campaign import Cell
from pipeline.data import guarded
from pipeline.data.examples.matching import BAD
from pipeline.data.pictures import opened
from pipeline.data.shards import Sample
from pipeline.data.tars.writing import packed, unpacked
from pipeline.planning.units import Unit
from pipeline.scoring.rules import of_row

Row = dict[str, Any]
Picture = np.ndarray[Any, Any]
"""(3, h, w) uint8."""


def cell_columns(cell: Cell) -> Row:
    """Return the columns that all rows of a cell share, by name; `pipeline.store.schema` describes each."""
    return {
        "cell": cell.name,
        "model": cell.model_name,
        "defense": cell.defense_name,
        **cell.defense.columns(),
        "attack": cell.attack_name,
        "policy": cell.attack.gradient,
        "networks": cell.attack.imitated_by,
        "mode": cell.attack.mode,
        "norm": cell.attack.norm,
        "eps": cell.attack.eps,
        "steps": cell.built.steps,
        "eot_draws": cell.eot_draws,
        "evaluation_draws": cell.judged_by,
        "seed": cell.seed,
        "campaign": cell.identity,
    }


def unit_columns(cell: Cell, unit: Unit, device: torch.device) -> Row:
    """Return the columns that all rows of a unit share."""
    return cell_columns(cell) | {
        "shard": unit.shard,
        "unit": unit.name,
        "device": provenance.device_name(device),
        "commit": provenance.commit(),
        "versions": provenance.versions(),
    }


def decoded(sample: Sample, cell: Cell) -> tuple[Sample, Picture | None]:
    """Return a sample and its image as the cell sees it; None for one that cannot be attacked, whose status says why."""
    if sample.status != "ok":
        return sample, None
    if sample.label >= (classes := cell.model.classes):
        return replace(sample, status="bad_label", error=f"class {sample.label}, but the model has 0 to {classes - 1}"), None
    try:
        return sample, guarded.decode(sample.image, cell.resize, cell.crop, cell.framing, cell.exif)
    except ValueError as error:
        return replace(sample, status="bad_image", error=str(error)), None


def with_example(
    sample: Sample, image: Picture | None, given: Mapping[str, Tensor | str] | None
) -> tuple[Sample, Picture | None]:
    """Return a sample and its image; where its finished example is `given`, but cannot be used, None, with the status."""
    example = given[sample.key] if given is not None and image is not None else None
    return (replace(sample, status=BAD, error=example), None) if isinstance(example, str) else (sample, image)


def refused(sample: Sample) -> Row:
    """Return the columns of an image that could not be attacked."""
    spent = {"grad_evals": 0, "forward_evals": 0, "seconds": 0.0}
    return _named(sample) | {"status": sample.status, "error": sample.error} | spent


def attacked(
    samples: list[Sample], state: State, stored: Tensor, clean: Verdict, adversarial: Verdict, cell: Cell, seconds: float
) -> list[Row]:
    """Return the columns of attacked images.

    `stored` (n, 3, h, w) uint8 are the examples as the store keeps them; `seconds` is each image's share of the unit's time.
    """
    distances = {norm: Ball(norm, cell.attack.eps).distance(stored, state.clean).tolist() for norm in ("linf", "l2")}
    targets, nonfinite, zero = state.target.tolist(), state.nonfinite.tolist(), state.zero.tolist()
    given = state.memory.get(DISTANCE, state.label.new_full((len(state),), -1)).tolist()
    labels = torch.tensor([sample.label for sample in samples], device=state.label.device, dtype=torch.int64)
    margins = {f"{side}_margin": _margins(verdict, labels) for side, verdict in (("clean", clean), ("adv", adversarial))}
    norms = [total / number if number > 0 else None for number, total in state.norms.tolist()]  # NaN is not above 0
    left, grads, forwards = state.left.host.tolist(), state.grad_evals.tolist(), state.forward_evals.tolist()
    return [
        _named(sample)
        | _side("clean", clean, i, sample.label)
        | _side("adv", adversarial, i, sample.label)
        | certificates.columns(cell, state, i)
        | _target(adversarial.top5[i, :, 0], targets[i])
        | {
            "status": "ok",
            "linf": distances["linf"][i],
            "l2": distances["l2"][i],
            "given_distance": given[i] if given[i] >= 0 else None,
            "nonfinite_gradients": nonfinite[i],
            "zero_gradients": zero[i],
            "gradient_norm": norms[i],
            **{name: values[i] for name, values in margins.items()},
            "first_break": left[i] if left[i] >= 0 else None,
            "grad_evals": grads[i],
            "forward_evals": forwards[i] + 2 * cell.judged_by,
            "seconds": seconds,
        }
        for i, sample in enumerate(samples)
    ]


def misclassified(samples: list[Sample], clean: Verdict, cell: Cell) -> list[bool]:
    """Return which images the cell skips: those that its rule gets wrong without an attack; none if it has no such rule."""
    if cell.skip_misclassified is None:
        return [False] * len(samples)
    known = ({"label": sample.label, "evaluation_draws": cell.judged_by} for sample in samples)
    rows = [row | _side("clean", clean, i, row["label"]) for i, row in enumerate(known)]
    return [of_row(row, cell.skip_misclassified, "clean", 1) == 0 for row in rows]


def _named(sample: Sample) -> Row:
    return {"image_key": sample.key, "label": sample.label if sample.label >= 0 else None}


def _side(side: str, verdict: Verdict, i: int, label: int) -> Row:
    top5 = verdict.top5[i]
    return {
        f"{side}_top5": top5.tolist(),
        f"{side}_mean_top5": verdict.mean_top5[i].tolist(),
        f"{side}_correct": int((top5[:, 0] == label).sum()),
        f"{side}_top5_correct": int((top5 == label).any(1).sum()),
    }


def _margins(verdict: Verdict, labels: Tensor) -> list[float | None]:
    """Return the margin of each image; None without a label (-1), and where a logit is not finite."""
    found = verdict.margin(labels.clamp_min(0)).where(labels >= 0, torch.nan)
    return [None if math.isnan(value) else value for value in found.tolist()]


def _target(first: Tensor, target: int) -> Row:
    return {"target": target, "target_hits": int((first == target).sum())} if target >= 0 else {}


def examples(samples: list[Sample], stored: Tensor) -> bytes:
    """Return adversarial examples as a WebDataset shard of 8-bit PNG and cls; the same images give the same bytes.

    `stored` (n, 3, h, w) uint8.
    """
    return packed(file for sample, image in zip(samples, stored.cpu().numpy(), strict=True) for file in _files(sample, image))


def _files(sample: Sample, image: Picture) -> Iterator[tuple[str, bytes]]:
    """Yield the files of one example, (name, content)."""
    png = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(png, "PNG")
    yield f"{sample.key}.png", png.getvalue()
    yield f"{sample.key}.cls", str(sample.label).encode()


def pictures(tar: bytes) -> dict[str, Picture]:
    """Return the images of a shard that `examples` made, by key; each (3, h, w) uint8. Raises ValueError if it is damaged."""
    files = {name.removesuffix(".png"): data for name, data in unpacked(tar).items() if name.endswith(".png")}
    return {key: np.asarray(opened(data)).transpose(2, 0, 1).copy() for key, data in files.items()}
