"""Define the certificate of a defense by Gaussian noise, which runs as an attack does and leaves images as they are."""

from typing import ClassVar, Literal

from pydantic import Field

import bart
from pipeline.config.attacks.settings import KIND, Plain
from pipeline.config.fields import Length


class Certify(Plain):
    """No attack: the certified L2 radius of each image behind Gaussian noise (Cohen, Rosenfeld, Kolter 2019). Of the keys of
    every attack it has `eps`. See docs/judging.md."""

    kind: Literal["certify"] = Field(description=KIND)
    norm: ClassVar[Literal["linf", "l2"]] = "l2"  # type: ignore[misc]
    eps: Length = Field(description="the radius at which tables count certified images; rows have the radius of each image")
    first: int = Field(100, ge=1, description="draws that choose the class: n0 of the article")
    draws: int = Field(100_000, ge=1, description="draws that count votes for it: n of the article")
    alpha: float = Field(0.001, gt=0, lt=0.5, description="chance that a certificate is wrong, at most")
    eot_draws: ClassVar[int] = 1  # type: ignore[misc]
    transfer: ClassVar[bool] = False  # type: ignore[misc]

    def once(self, draws: int) -> bart.Attack:
        return bart.Certify(self.ball, self.first, self.draws)

    @property
    def at_once(self) -> int | None:
        return 1
