"""Give every draw its key, so that no draw that judges is a draw that attacks: their keys differ in one bit.

A draw is a function of its key (`Barrage.draw`, `Defended.logits`), a 64-bit integer. All draws get their keys here:

    to_attack, shared    the bit `JUDGES` is clear
    to_judge             the bit `JUDGES` is set

So the two sets have no key in common, whatever the keys of the images, the seed, the step, the restart or the attack: this is
no matter of chance. What a draw is made of follows from its key by `rng.fold` with a name. For one name that is one to one: it
adds a constant modulo 2^64, and each stage of SplitMix64's finaliser can be undone. So no parameter of a draw that judges is
computed from the number that made this parameter in a draw that attacks. The bit itself tells a draw nothing: it is hashed
like the other 63.

A frozen defense is the exception, by its meaning: attack and verdict meet the same draw.
"""

import torch
from torch import Tensor

from bart import rng

JUDGES = 1 << 32
"""The bit of a key that tells draws that judge. It is one in the middle: a defense of others may take a key's sign, its last
bits or its first ones for a random number, without hashing them."""


def to_attack(keys: rng.Mirror, draws: int) -> rng.Mirror:
    """Return the keys of draws that make or choose an example, image by image, from one key an image: (n,) -> (n x draws,)."""
    return keys.map(lambda side: _spread(side, draws) & ~JUDGES)


def shared(keys: rng.Mirror, draws: int) -> rng.Mirror:
    """Return one key for all draws of an image that attack, image by image, from one key an image: (n,) -> (n x draws,)."""
    return keys.map(lambda side: (side & ~JUDGES).repeat_interleave(draws))


def to_judge(images: rng.Mirror, draws: int, frozen: bool = False) -> rng.Mirror:
    """Return the keys of draws that judge, image by image, from the key of each image: (n,) -> (n x draws,).

    The first m draws of an image are the same whatever `draws` is. A `frozen` defense is judged by the draw that attacks.
    """
    keys = of_purpose(images, "evaluation", frozen)
    return to_attack(keys, draws) if frozen else keys.map(lambda side: _spread(side, draws) | JUDGES)


def of_purpose(images: rng.Mirror, purpose: str, frozen: bool) -> rng.Mirror:
    """Return a key for each image and purpose ("step", "evaluation", ...), from the key of each image, (n,); of a `frozen`
    defense one for all purposes.
    """
    return images.map(rng.fold, "frozen" if frozen else purpose)


def _spread(side: Tensor, draws: int) -> Tensor:
    return rng.fold(side[:, None], torch.arange(draws, device=side.device)).flatten()
