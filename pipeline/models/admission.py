"""Check that a model can be evaluated, by a few passes and one backward pass, before any work starts.

Refused in one line is what would make a number wrong: a model that is random, whose logits depend on the other images of a
batch, or that has no gradient for an attack that follows one. What only may be a mistake is a remark.
"""

import json
import warnings
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bart import LOSSES, Classifier
from bart.defenses import Network
from bart.diagnostics.blindness import CAUSES, causes
from bart.training import evaluating
from pipeline.config.campaign import Cell, Model
from pipeline.config.defenses import modules
from pipeline.errors import BadInput, Remark, one_line
from pipeline.models import architectures, foreign, loading, randomness

PLAIN = ((0, 0, 0), (1, 1, 1))
"""The mean and std that change nothing."""

UNSURE = 0.05
"""How near values come to 0 and to 1 that a sigmoid made; cosines, which may be attacked, stay farther away."""

CROWD = 8
"""Images of the second pass: some models treat small batches in another way than large ones."""

INSTEAD = "attack it with square, spsa, pop_skip_jump or noise, or make the model differentiable"


def admit(model: Model, name: str, cells: Sequence[Cell], controls: Collection[str] = (), images: Tensor | None = None) -> None:
    """Raise BadInput unless a model can be loaded, judged, and attacked as its cells say, which have the same images.

    controls  names of attacks that need no gradient, though they follow one: they are only compared with another
    images    some of those that will be attacked, (n, 3, crop, crop) in [0, 1]; None: synthetic ones
    """
    network = loading.build(model)
    tried(network, model, cells[0].crop)
    for own in _by_defense(cells):
        who = f"model {name} behind {own[0].defense_name}" if own[0].defense.foreign else f"model {name}"
        judged = _judged(network, model, name, own[0], who)
        judgeable(judged, who, own)
        if isinstance(judged, Classifier):
            resizable(judged, name, own)
        _repeatable(judged, network, model, name, own[0], who)
        attackable(judged, own, controls, images)
    _suspect(network, model, name)


def _repeatable(judged: Network, network: nn.Module, model: Model, name: str, cell: Cell, who: str) -> None:
    """Raise BadInput if a function makes another model, or another module of the cell's defense, in each call."""
    with warnings.catch_warnings(action="ignore", category=Remark):  # they were shown for the first one
        if architectures.of_a_function(model.architecture):
            again, what = _judged(loading.build(model), model, name, cell, who), f"architecture {model.architecture}"
            randomness.refuse_another_network(judged, again, what, probes(cell.crop), ", or name their file in `weights`")
        if places := cell.defense.unhashed:
            modules.forget()
            again, what = _judged(network, model, name, cell, who), f"module {' or '.join(places)}"
            randomness.refuse_another_network(judged, again, what, probes(cell.crop))


def _by_defense(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells that are tried together: those of each foreign defense, and all others."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(json.dumps(cell.defense.deciding()) if cell.defense.foreign else "", []).append(cell)
    return list(groups.values())


def _judged(network: nn.Module, model: Model, name: str, cell: Cell, who: str) -> Network:
    """Return what a network is judged as in a cell: its classifier, behind the cell's defense if that is foreign.

    Raises BadInput if it can't be made, or is left random without the defense for that.
    """
    try:
        classifier = loading.wrapped(network, model, cell.crop, torch.device("cpu"), not cell.defense.inside)
    except ValueError as error:  # a BatchNorm without statistics
        raise BadInput(f"model {name}: {error}") from None
    except Exception as error:  # a stranger's network may raise anything
        raise BadInput(
            f"model {name} can't be copied and evaluated ({one_line(error)}): give a torch module that copy.deepcopy copies"
        ) from None
    randomness.refuse_parts_in_training(classifier, f"model {name}", probes(cell.crop), cell.defense.random_model)
    return foreign.behind(classifier, cell, who) if cell.defense.foreign else classifier


def _suspect(network: nn.Module, model: Model, name: str) -> None:
    """Warn of a network that seems to normalise images that are normalised before."""
    if (kind := _normalises(network)) and model.normalisation != PLAIN:
        warnings.warn(
            f"model {name} has a module {kind}, and its images are normalised before by mean and std, too: if that is twice, "
            "give the mean [0, 0, 0] and the std [1, 1, 1]",
            Remark,
            stacklevel=3,
        )


def _normalises(network: nn.Module) -> str:
    """Return the kind of a module that seems to normalise the three colours of images; empty if none does."""
    for module in network.modules():
        kept = (*vars(module).values(), *module.buffers(recurse=False), *module.parameters(recurse=False))
        sizes = (value.numel() if isinstance(value, Tensor) else np.size(value) for value in kept)
        if "normali" in type(module).__name__.lower() and 3 in sizes:
            return type(module).__name__
    return ""


def tried(network: nn.Module, model: Model, crop: int) -> None:
    """Raise BadInput unless the network accepts images of `crop` px and has as many classes as its section says."""
    try:
        with torch.no_grad(), evaluating(network):
            logits = network(torch.zeros(1, 3, crop, crop, dtype=torch.float32, device="cpu"))
    except TypeError as error:
        raise BadInput(
            f"{model.architecture} can't be called with images alone ({one_line(error)}): wrap it in a module whose "
            "forward takes images (n, 3, h, w) and returns logits"
        ) from None
    except Exception as error:  # a stranger's network may raise anything
        raise BadInput(
            f"{model.architecture} cannot take images of {crop} px ({one_line(error)}): correct `crop`, or make its forward "
            "take float32 images (n, 3, h, w) on any device"
        ) from None
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise BadInput(
            f"{model.architecture} does not return logits (1, classes) for an image: wrap it in a function that does"
        )
    if logits.shape[1] != model.classes:
        raise BadInput(
            f"{model.architecture} has {logits.shape[1]} classes, its section says {model.classes}: correct `classes`"
        )


def probes(crop: int, count: int = 3) -> Tensor:
    """Return synthetic pictures, always the same: smooth colours with fine noise, (count, 3, crop, crop) in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 4, 4, generator=generator, dtype=torch.float32, device="cpu")
    smooth = nn.functional.interpolate(coarse, (crop, crop), mode="bilinear", align_corners=False)
    fine = torch.randn(count, 3, crop, crop, generator=generator, dtype=torch.float32, device="cpu")
    return (smooth + 0.1 * fine).clamp(0, 1)


@torch.no_grad()
def judgeable(network: Network, who: str, cells: Sequence[Cell]) -> None:
    """Raise BadInput if an image's logits are not its own: random, dependent on other images, NaN, or no logits.

    Probabilities are refused for attacks that follow gradients, and said for others.
    """
    a, b, c = probes(cells[0].crop)
    with randomness.passing(who):
        first, again = network(torch.stack((a, b))), network(torch.stack((a, b)))
        drawn, second = randomness.drawn(network, torch.stack((a, *[c] * (CROWD - 1))))
        alone = network(a[None])
    if len(first) != 2:
        raise BadInput(f"{who} returns {len(first)} rows of logits for two images: keep the first dimension as it is")
    if not (first.isfinite().all() and second.isfinite().all()):
        raise BadInput(f"{who} gives NaN or infinite logits: use other weights, or mend its forward")
    if drawn:
        raise BadInput(_refusal(who, cells[0], f"draws random numbers ({drawn}) in eval mode"))
    if not randomness.same(first, again):  # of as many images: some networks forget what they keep when that number changes
        said = _refusal(who, cells[0], "gives the same image other logits in a second pass")
        raise BadInput(f"{said}; if it keeps a state, reset that in each pass")
    if not (randomness.same(first[0], second[0]) and randomness.same(first[0], alone[0])):
        raise BadInput(
            f"{who} gives an image other logits beside another image: normalise by running statistics, not by the "
            "batch, and let no image see the others"
        )
    if (first >= 0).all() and (first <= 1).all():
        _bounded(first, who, any(cell.attack.needs_gradient for cell in cells))


def _refusal(who: str, cell: Cell, why: str) -> str:
    """Return what a person reads of a random model, or of a defense whose randomness can't be had from keys."""
    if cell.defense.foreign:
        remedy = "draw by torch, Python's random or NumPy"
        return f"{who} {why}, by draws that can't be had from keys, as those of the operating system: {remedy}"
    return f"{who} {why}, and one draw would judge it: take the randomness out of eval mode, or {randomness.RANDOM}"


@torch.no_grad()
def resizable(classifier: Classifier, name: str, cells: Sequence[Cell]) -> None:
    """Raise BadInput if the defense of a cell gives the model images of another size, which it cannot take."""
    for cell in cells:
        given = (cell.crop, cell.crop)
        size = cell.defense.build().size_after(given)
        try:
            if size != given:
                classifier(torch.zeros(1, 3, *size, dtype=torch.float32, device="cpu"))
        except Exception as error:  # a stranger's network may raise anything
            raise BadInput(
                f"defense {cell.defense_name} makes {max(size)} px of {cell.crop} px, and model {name} cannot take them "
                f"({one_line(error)}): choose other sizes, or a model for images of any size"
            ) from None


def _bounded(values: Tensor, who: str, followed: bool) -> None:
    """Raise BadInput for probabilities (n, classes), or values of a sigmoid, if gradients are `followed`; else warn."""
    together = bool((values.sum(1) - 1).abs().amax() < randomness.SAME)
    what, end = ("probabilities, not logits", "softmax") if together else ("values of 0 to 1, not logits", "sigmoid")
    said = f"{who} returns {what}: leave out the {end} at its end"
    sure = bool(values.amin() < UNSURE and values.amax() > 1 - UNSURE)
    if followed and not _decides(values) and (together or sure):
        raise BadInput(f"{said}, whose gradient vanishes where it is sure")
    warnings.warn(f"{said}, or take no rule that averages probabilities", Remark, stacklevel=2)


def _decides(probabilities: Tensor) -> bool:
    """Return whether a model answers by one class alone, without a probability."""
    return bool((probabilities.amax(1) == 1).all())


def attackable(
    classifier: Network, cells: Sequence[Cell], controls: Collection[str] = (), images: Tensor | None = None
) -> None:
    """Raise BadInput if the attack of one of the model's cells cannot run: too few classes for its loss, or no gradient."""
    for cell in cells:
        needed = cell.built.classes
        if cell.model.classes < needed:
            raise BadInput(
                f"attack {cell.attack_name} needs a model with at least {needed} classes, {cell.model_name} has "
                f"{cell.model.classes}: use another loss"
            )
    x = probes(cells[0].crop) if images is None else images
    by_gradient = [cell for cell in cells if cell.attack.needs_gradient and cell.attack_name not in controls]
    for cell in {(getattr(cell.attack, "loss", "ce"), cell.defense.random): cell for cell in by_gradient}.values():
        _differentiable(classifier, cell, x)


def _differentiable(classifier: Network, cell: Cell, x: Tensor) -> None:
    """Raise BadInput if the loss of a cell has no gradient in half of the images `x` (n, 3, h, w) or more; warn if in fewer.

    Behind a random defense logits are smaller: there a loss that is flat on undefended images is no more than a warning.
    """
    leaf, loss = x.clone().requires_grad_(), LOSSES[getattr(cell.attack, "loss", "ce")]
    who = f"attack {cell.attack_name} follows gradients, and {cell.model_name} has none in its image"
    try:
        logits = classifier(leaf)
        label = logits.detach().argmax(1)
        value = loss(logits, label, torch.full_like(label, -1)).sum()
        gradient = torch.autograd.grad(value, leaf)[0] if value.requires_grad else torch.zeros_like(leaf)
    except Exception as error:  # a stranger's backward pass may raise anything
        raise BadInput(f"{who} ({one_line(error)}): {INSTEAD}") from None
    if gradient.isfinite().all() and (gradient.flatten(1) != 0).any(1).all():
        return
    hidden = [cause for cause in causes(classifier, x, label, loss) if cause]
    cause, count = Counter(hidden).most_common(1)[0]
    said = f"{cause}, in {count} of {len(x)} pictures: {CAUSES[cause]}"
    if 2 * len(hidden) >= len(x) and not (cause == "saturation" and cell.defense.random):
        raise BadInput(f"{who} ({said}): mend that, or attack it with square, spsa, pop_skip_jump or noise")
    warnings.warn(
        f"attack {cell.attack_name} follows gradients, and {cell.model_name} hides some ({said})", Remark, stacklevel=2
    )
