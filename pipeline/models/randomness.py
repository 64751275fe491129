"""Find out whether a model is random: in its passes, by the function that makes it, or by parts left in training mode."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bart import Classifier
from bart.defenses import Network
from bart.defenses.module import owner
from bart.keyed import UnknownRandomness, drawing
from pipeline.errors import BadInput, one_line

SAME = 1e-4
"""Share of the largest logit by which two passes of an image may differ: sums in another order."""

RANDOM = "name it in a defense of `kind: module`, which judges random models by fresh draws"
"""What to do with a model that shall be random."""


def same(a: Tensor, b: Tensor) -> bool:
    """Return whether logits are the same but for rounding."""
    return bool((a - b).abs().amax() <= SAME * b.abs().amax())


def drawn(network: Network, x: Tensor) -> tuple[str, Tensor]:
    """Return from which generator a network draws in each pass, or "", and its logits of images `x` (n, 3, h, w)."""
    return drawing(network, (owner(network),), x)


@contextmanager
def passing(who: str) -> Iterator[None]:
    """Raise BadInput for what a stranger's network raises in a pass of more than one image. `who` names it in messages."""
    try:
        yield
    except UnknownRandomness as error:
        raise BadInput(f"{who} {error}") from None
    except Exception as error:  # a stranger's network may raise anything
        raise BadInput(f"{who} can't take two images at once ({one_line(error)}): mend its forward") from None


@torch.no_grad()
def refuse_parts_in_training(classifier: Classifier, who: str, x: Tensor, may_be_random: bool) -> None:
    """Raise BadInput if a part of a network stays in training mode as it is judged, and makes it random or see its batch.

    x               images (n, 3, h, w) in [0, 1]
    may_be_random   whether it is judged as a random model: then no part may see the batch
    """
    left = {name: module for name, module in classifier.model.named_modules() if module.training}
    for name, module in left.items():
        if isinstance(module, _BatchNorm):
            raise BadInput(
                f"{who}: {type(module).__name__} {name} stays in training mode, so images change each other's logits: put it "
                "in eval mode"
            )
    if not left or may_be_random:
        return
    with passing(who):
        draws, as_it_is = drawn(classifier, x)
        with _evaluated(left.values()):
            evaluated = classifier(x)
    if draws or not same(as_it_is, evaluated):
        name, module = next(iter(left.items()))
        raise BadInput(
            f"{who}: {type(module).__name__} {name} stays in training mode while the model is in eval mode, so it is random or "
            "depends on its batch, and one draw would judge it: let the function return it with all its parts in eval mode, or "
            f"{RANDOM}"
        )


@contextmanager
def _evaluated(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Take modules out of training mode, whatever they make of eval(); afterwards they are in it again."""
    modules = list(modules)
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True


@torch.no_grad()
def refuse_another_network(first: Network, second: Network, what: str, x: Tensor, or_else: str = "") -> None:
    """Raise BadInput unless two calls of a function make the same network; if it is random, of the same draws.

    what      the function, in words
    x         images (n, 3, h, w) in [0, 1]
    or_else   another remedy than trained weights in the function
    """
    with passing(what):
        alike = same(first(x), second(x))
    if not alike:
        raise BadInput(
            f"{what} makes another network in each call, and each worker would judge its own: load trained weights in the "
            f"function{or_else}"
        )
