"""Check that a model can be evaluated, by two passes and one backward pass, before any work starts.

Refused in one line is what would make a number wrong: a model that is random, whose logits depend on the other images of a
batch, or that has no gradient for an attack that follows one. What only may be a mistake is a remark.
"""

import json
import warnings
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from bart import LOSSES, Classifier, Mirror
from bart.defenses import Network
from bart.defenses.module import owner
from bart.diagnostics.blindness import CAUSES, causes
from bart.keyed import Code, Keyed, UnknownRandomness
from bart.training import evaluating
from pipeline.config.campaign import Cell, Model
from pipeline.errors import BadInput, Remark, one_line
from pipeline.models import factories, foreign, loading

SAME = 1e-4
"""Share of the largest logit by which two passes of an image may differ: sums in another order."""

DRAWS = 128
"""Draws of a model that uses random numbers, to see whether they matter: what happens in one of 20 draws is missed in one case
of 700."""

RANDOM = "name it in a defense of `kind: module`, which judges random models by fresh draws"

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
        classifier = _wrapped(network, model, name, own[0])
        judged = foreign.behind(classifier, own[0], who) if own[0].defense.foreign else classifier
        judgeable(judged, who, own)
        if judged is classifier:
            resizable(classifier, name, own)
        attackable(judged, own, controls, images)


def _by_defense(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells that are tried together: those of each foreign defense, and all others."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(json.dumps(cell.defense.deciding()) if cell.defense.foreign else "", []).append(cell)
    return list(groups.values())


def _wrapped(network: nn.Module, model: Model, name: str, cell: Cell) -> Classifier:
    """Return the classifier of a cell. Raises BadInput if it can't be made, or is left random without the defense for that."""
    if left := next(factories.left_on(network, random=False), None):
        raise BadInput(
            f"model {name}: {left} stays in training mode, so images change each other's logits: put it in eval mode"
        )
    if not cell.defense.random_model and (left := next(factories.left_on(network, random=True), None)):
        raise BadInput(
            f"model {name}: {left} stays in training mode while the module around it is in eval mode, so the model is random, "
            f"and one draw would judge it: call eval() on the whole model in the function, or {RANDOM}"
        )
    try:
        return loading.wrapped(network, model, cell.crop, torch.device("cpu"), not cell.defense.inside)
    except ValueError as error:  # a BatchNorm without statistics
        raise BadInput(f"model {name}: {error}") from None
    except Exception as error:  # a stranger's network may raise anything
        raise BadInput(
            f"model {name} can't be copied and evaluated ({one_line(error)}): give a plain torch module, no script"
        ) from None


def tried(network: nn.Module, model: Model, crop: int) -> None:
    """Raise BadInput unless the network accepts images of `crop` px and has as many classes as its section says."""
    try:
        with torch.no_grad(), evaluating(network):
            logits = network(torch.zeros(1, 3, crop, crop))
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
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    smooth = nn.functional.interpolate(coarse, (crop, crop), mode="bilinear", align_corners=False)
    return (smooth + 0.1 * torch.randn(count, 3, crop, crop, generator=generator)).clamp(0, 1)


@torch.no_grad()
def judgeable(classifier: Network, name: str, cells: Sequence[Cell]) -> None:
    """Raise BadInput if an image's logits are not its own: random, dependent on other images, NaN, or no logits.

    Probabilities are refused for attacks that follow gradients, and said for others.
    """
    a, b, c = probes(cells[0].crop)
    try:
        first, second = (classifier(torch.stack(pair)) for pair in ((a, b), (a, c)))
        alone = classifier(a[None])
    except UnknownRandomness as error:
        raise BadInput(f"{name} {error}") from None
    except Exception as error:  # a stranger's network may raise anything
        raise BadInput(f"{name} can't take two images at once ({one_line(error)}): mend its forward") from None
    if len(first) != 2:
        raise BadInput(f"{name} returns {len(first)} rows of logits for two images: keep the first dimension as it is")
    if not (first.isfinite().all() and second.isfinite().all()):
        raise BadInput(f"{name} gives NaN or infinite logits: use other weights, or mend its forward")
    if not cells[0].defense.foreign and (drawn := drawing(classifier, a)):
        raise BadInput(_refusal(name, cells[0], f"is random: it draws by {drawn}"))
    if not (_same(first[0], second[0]) and _same(first[0], alone[0])):
        if _same(first[0], classifier(torch.stack((a, b)))[0]):
            raise BadInput(
                f"{name} gives an image other logits beside another image: normalise by running statistics, not by the "
                "batch, and let no image see the others"
            )
        raise BadInput(_refusal(name, cells[0], "gives the same image other logits in a second pass"))
    if (first >= 0).all() and (first <= 1).all():
        _bounded(first, name, any(cell.attack.needs_gradient for cell in cells))


def _refusal(name: str, cell: Cell, why: str) -> str:
    """Return what a person reads of a random model, or of a defense whose randomness can't be had from keys."""
    if cell.defense.foreign:
        remedy = "draw by torch, Python's random or NumPy"
        return f"{name} {why}, by draws that can't be had from keys, as those of the operating system: {remedy}"
    return f"{name} {why}, and one draw would judge it: take the randomness out of eval mode, or {RANDOM}"


def drawing(network: Network, image: Tensor) -> str:
    """Return by what a network draws, if logits of the image (3, h, w) differ in any of DRAWS draws; else nothing."""
    code, keyed = Code(network, (owner(network),)), Keyed()
    try:
        draws = keyed.habits(code, image[None]).draws
        if not draws:
            return ""
        few = image.expand(16, -1, -1, -1)
        logits = torch.cat([keyed(code, few, Mirror.of(keys, "cpu")) for keys in torch.arange(DRAWS).split(len(few))])
    except UnknownRandomness as error:
        return str(error).removeprefix("draws by ").partition(",")[0]
    return "" if all(_same(row, logits[0]) for row in logits) else draws[0]


@torch.no_grad()
def resizable(classifier: Classifier, name: str, cells: Sequence[Cell]) -> None:
    """Raise BadInput if the defense of a cell gives the model images of another size, which it cannot take."""
    for cell in cells:
        given = (cell.crop, cell.crop)
        size = cell.defense.build().size_after(given)
        try:
            if size != given:
                classifier(torch.zeros(1, 3, *size))
        except Exception as error:  # a stranger's network may raise anything
            raise BadInput(
                f"defense {cell.defense_name} makes {max(size)} px of {cell.crop} px, and model {name} cannot take them "
                f"({one_line(error)}): choose other sizes, or a model for images of any size"
            ) from None


def _bounded(values: Tensor, name: str, followed: bool) -> None:
    """Raise BadInput for probabilities (n, classes) if gradients are `followed`, else warn; also warn of a sigmoid's values."""
    if (values.sum(1) - 1).abs().amax() >= SAME:
        said = f"{name} returns values of 0 to 1 only: if that is a sigmoid, leave it out, since its gradient vanishes"
        warnings.warn(said, Remark, stacklevel=2)
        return
    said = f"{name} returns probabilities, not logits: leave out the softmax at its end"
    if followed and not _decides(values):
        raise BadInput(f"{said}, whose gradient vanishes where it is sure")
    warnings.warn(f"{said}, or take no rule that averages probabilities", Remark, stacklevel=2)


def _decides(probabilities: Tensor) -> bool:
    """Return whether a model answers by one class alone, without a probability."""
    return bool((probabilities.amax(1) == 1).all())


def _same(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().amax() <= SAME * b.abs().amax())


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
        (gradient,) = torch.autograd.grad(loss(logits, label, torch.full_like(label, -1)).sum(), leaf)
    except Exception as error:  # a stranger's backward pass may raise anything
        raise BadInput(f"{who} ({one_line(error)}): {INSTEAD}") from None
    if gradient.isfinite().all() and (gradient.flatten(1) != 0).any(1).all():
        return
    hidden = [cause for cause in causes(classifier, x, label, loss) if cause]
    said = f"{hidden[0]}, in {len(hidden)} of {len(x)} pictures: {CAUSES[hidden[0]]}"
    if 2 * len(hidden) >= len(x) and not (hidden[0] == "saturation" and cell.defense.random):
        raise BadInput(f"{who} ({said}): mend that, or attack it with square, spsa, pop_skip_jump or noise")
    warnings.warn(
        f"attack {cell.attack_name} follows gradients, and {cell.model_name} hides some ({said})", Remark, stacklevel=2
    )
