"""Find out from the clean images, before the attack, whether labels or preprocessing are wrong."""

from dataclasses import dataclass, field

from torch import Tensor

ENOUGH = 8
"""Images from which on something is reported."""

NEAR = 1.2
"""Times the accuracy of guessing, up to which an accuracy is near chance."""


@dataclass
class CleanPass:
    """Count over images of one cell how often a draw says the label, and the classes before and after it."""

    classes: int
    images: int = 0
    hits: dict[int, float] = field(default_factory=lambda: {-1: 0.0, 0: 0.0, 1: 0.0})
    """{distance from the label: share of draws, summed over images}."""

    def add(self, label: Tensor, said: Tensor) -> None:
        """Add images: `label` (n,), and the first class of each of their draws, `said` (n, draws)."""
        apart = said - label[:, None]
        self.images += len(label)
        for distance in self.hits:
            self.hits[distance] += float((apart == distance).double().mean(1).sum())

    @property
    def suspicion(self) -> str:
        """Return what looks wrong, and what to do; empty if nothing does, or too few images were seen."""
        right = self.hits[0] / max(1, self.images)
        distance = max((-1, 1), key=lambda d: self.hits[d])
        beside = self.hits[distance] / max(1, self.images)
        if self.images < ENOUGH:
            return ""
        if beside >= 0.5 and right < beside / 2:
            return (
                f"labels seem to be off by one: {100 * beside:.0f} % of draws say the label {distance:+d}, {100 * right:.0f} % "
                "the label: count classes as the model does"
            )
        if right <= NEAR / self.classes:
            return (
                f"clean accuracy is {100 * right:.1f} % of {self.images} images, no more than guessing: check labels, weights, "
                "and mean and std, which are [0, 0, 0] and [1, 1, 1] for a model that normalises images itself"
            )
        return ""
