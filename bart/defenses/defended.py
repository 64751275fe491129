"""Put a classifier behind a defense."""

from dataclasses import dataclass, field

from torch import Tensor

from bart import draw_keys, rng, surroundings
from bart.bpda import Networks, checked, combo
from bart.classifier import Normalised
from bart.defenses.defense import Defense, Policy


@dataclass(frozen=True)
class Defended:
    """Classify behind a defense: this is what is attacked and judged.

    frozen      remove the randomness: each image meets one draw, the same in every step, draw and verdict. This is no
                defense but a check: an attack that fails against it fails for other reasons than randomness (Athalye et
                al., ICML 2018)
    networks    BPDA networks by the name of the transform, for the attack's gradients (`bart.bpda.policies`); they change no
                logit
    Raises ValueError for networks that can not be used.
    """

    classifier: Normalised
    defense: Defense
    frozen: bool = False
    networks: Networks = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        checked(self.networks)

    def keys(self, images: rng.Mirror, purpose: str, step: rng.Mirror | None = None) -> rng.Mirror:
        """Return keys for draws of one purpose ("step", "restart", ...), from one key an image, new at each `step`."""
        keys = draw_keys.of_purpose(images, purpose, self.frozen)
        return keys.map(rng.fold, step) if step and not self.frozen else keys

    def logits(
        self,
        x: Tensor,
        keys: rng.Mirror,
        policy: Policy = combo,
        order_keys: rng.Mirror | None = None,
        fast: bool = False,
    ) -> Tensor:
        """Return logits (n, classes) float32 of a stack `x` (n, 3, h, w), each row behind its own draw, also inside autocast.

        keys        one per row
        order_keys  see `Defense.draw`
        fast        run the classifier in the precision of attack gradients; a verdict does not
        """
        draws = self.defense.draw(keys, (x.shape[-2], x.shape[-1]), order_keys)
        with surroundings.no_autocast(x.device):
            return self.defense.logits(self.classifier.fast if fast else self.classifier, x, draws, policy)
