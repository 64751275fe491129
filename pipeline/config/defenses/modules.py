"""Define the settings of defenses that run code of others: a random model, a stochastic module, a purifier."""

from functools import lru_cache
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from torch import nn

import bart.defenses as built
from bart.keyed import Keyed
from pipeline.config import contents
from pipeline.config.defenses.defense import Defense
from pipeline.config.functions import module_of

PLACE = r"^[\w.]+:\w+$"
"""What names a function: package.module:function."""


class Foreign(Defense):
    """Hold what the kinds have in common whose random operations are answered from keys."""

    contents_sha256: str | None = Field(None, pattern=contents.SHA256, description=contents.DESCRIPTION)
    straight_through: bool = Field(
        True,
        description="give `clamp` the derivative 1 at its bounds, where torch's own is 0 and black and white pixels never move",
    )

    @property
    def random(self) -> bool:
        """Return whether draws differ. It is asked before any code of others may run."""
        return not self.frozen

    @property
    def foreign(self) -> bool:
        return True

    @property
    def unhashed(self) -> tuple[str, ...]:
        place = getattr(self, "module", None)
        return (place,) if place and self.contents_sha256 is None else ()

    @property
    def cost(self) -> float:
        return 0.0

    def columns(self) -> dict[str, Any]:
        return super().columns() | {"clamps": "straight-through" if self.straight_through else "torch"}

    def deciding(self) -> dict[str, Any]:
        """Return the settings that decide numbers; what a function returned, where its hash is known."""
        return {name: value for name, value in super().deciding().items() if name != contents.KEY or value is not None}

    def judging(self) -> dict[str, Any]:
        """Return the settings that decide its draws: code that was edited meets the same ones."""
        return {name: value for name, value in self.deciding().items() if name != contents.KEY}

    def checked(self) -> Self:
        """Return the settings with the hash of what its function returns filled in; one that is given is checked later."""
        place = getattr(self, "module", None)
        if place is None:
            return self
        found = self.contents_sha256 or contents.if_repeated(lambda: _made(place), place)
        return self.model_copy(update={contents.KEY: found})

    def runner(self) -> Keyed:
        """Return what runs the code."""
        return Keyed(self.straight_through)


class Module(Foreign):
    """A model that is random itself, or a stochastic module of yours before the model."""

    kind: Literal["module"] = Field(description="kind of defense")
    module: str | None = Field(
        None,
        pattern=PLACE,
        description="package.module:function that returns a torch module, (n, 3, h, w) in [0, 1] -> (n, 3, h', w'), put before "
        "the model as it is; default: none, the model itself is random",
    )
    gradient: Literal["exact", "identity"] = Field(
        "exact", description="of the module: by autograd, or as if the module did nothing (BPDA)"
    )

    @model_validator(mode="after")
    def _one_gradient(self) -> "Module":
        if self.gradient == "identity" and self.module is None:
            raise ValueError("gradient: identity is for a module before the model: name it, or leave gradient out")
        return self

    @property
    def removable(self) -> bool:
        return self.module is not None

    @property
    def random_model(self) -> bool:
        return self.module is None

    def build(self) -> built.Defense:
        if self.module is None:
            return built.RandomModel(self.runner())
        place, expected = self.module, self.contents_sha256
        return built.RandomModule(lambda: _module(place, expected), self.runner(), self.gradient == "identity")


class Purifier(Foreign):
    """A denoiser or diffusion model of yours that purifies images before the model (Nie et al. 2022)."""

    kind: Literal["purifier"] = Field(description="kind of defense")
    module: str = Field(
        pattern=PLACE,
        description="package.module:function that returns the denoiser: (noisy images (n, 3, h, w) of mean 0, timesteps (n,)) "
        "-> the noise in them",
    )
    timestep: int = Field(100, ge=1, le=1000, description="up to which noise is added, of 1000")
    steps: int = Field(20, ge=1, le=1000, description="steps on the way back, `timestep` at most")
    sampler: Literal["ddpm", "ddim", "once"] = Field(
        "ddpm", description="ddpm: random steps; ddim: steps without noise; once: one jump"
    )
    schedule: Literal["linear", "cosine"] = Field("linear", description="how noise grows with time: of DDPM, or improved DDPM")
    predicts: Literal["noise", "image"] = Field("noise", description="what the denoiser returns")
    checkpointed: bool = Field(
        True, description="keep the images between steps only, and run each step again in the backward pass; changes no number"
    )

    @model_validator(mode="after")
    def _enough_timesteps(self) -> "Purifier":
        if self.steps > self.timestep:
            raise ValueError(f"steps {self.steps}: expected at most timestep {self.timestep}")
        return self

    @property
    def cost(self) -> float:
        """Return the cost as if each step took a pass of the classifier: five transforms."""
        return 5.0 * (1 if self.sampler == "once" else self.steps)

    def deciding(self) -> dict[str, Any]:
        """Return its settings without the one that saves memory only."""
        return {name: value for name, value in super().deciding().items() if name != "checkpointed"}

    def build(self) -> built.Defense:
        return built.RandomModule(self._purifier, self.runner())

    def _purifier(self) -> nn.Module:
        steps = (self.timestep, self.steps, self.sampler, self.schedule, self.predicts, self.checkpointed)
        return built.Purifier(_module(self.module, self.contents_sha256).eval(), *steps)


@lru_cache(maxsize=8)
def _module(place: str, expected: str | None) -> nn.Module:
    """Return the module of a function, made once in a process. Raises BadInput if its hash is not the expected one."""
    network = _made(place)
    contents.agree(network, place, expected, f"module {place}")
    return network


def forget() -> None:
    """Let functions make their modules anew, as another process does."""
    _module.cache_clear()


def _made(place: str) -> nn.Module:
    """Return what a function makes now, without its compiler, which would hide the operations. Raises BadInput."""
    made = module_of(place, "module")
    inner = getattr(made, "_orig_mod", made)
    return inner if isinstance(inner, nn.Module) else made
