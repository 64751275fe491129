"""Define the settings of defenses that act inside the model, at named layers."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

import bart.defenses as built
from pipeline.config.defenses.modules import Foreign
from pipeline.config.fields import ONE_OR_MORE

Patterns = Annotated[tuple[str, ...], ONE_OR_MORE]


class Layered(Foreign):
    """Hold what these kinds have in common: they find layers by name, in the network as it was made."""

    layers: Patterns = Field(
        min_length=1, description="names of the model's layers, as in named_modules(); * matches any text: layer?.*.conv*"
    )

    @model_validator(mode="after")
    def _possible(self) -> "Layered":
        self.build()
        return self

    @property
    def inside(self) -> bool:
        return True


class FeatureNoise(Layered):
    """Normal noise at layers of the model: random self-ensemble (Liu 2018), parametric noise injection (He 2019)."""

    kind: Literal["feature_noise"] = Field(description="kind of defense")
    sigma: float = Field(gt=0, description="standard deviation of the noise")
    at: Literal["input", "output", "weight"] = Field(
        "input", description="before the layers, behind them, or in their weights, which runs image by image"
    )
    relative: bool = Field(
        False, description="sigma is a share of the standard deviation of what it is added to, of each image by itself"
    )

    def build(self) -> built.FeatureNoise:
        return built.FeatureNoise(self.layers, self.sigma, self.at, self.relative, self.runner())


class Dropout(Layered):
    """Dropout at test time behind layers of the model, or stochastic activation pruning (Dhillon et al. 2018)."""

    kind: Literal["dropout"] = Field(description="kind of defense")
    rate: float = Field(0.5, ge=0, lt=1, description="probability that a value or channel is dropped")
    unit: Literal["elements", "channels", "activations"] = Field(
        "elements", description="what is dropped; activations: those that are not drawn in proportion to their size (pruning)"
    )
    samples: float = Field(1.0, gt=0, description="draws of the pruning, as a share of the activations of a layer")

    def build(self) -> built.Dropout:
        return built.Dropout(self.layers, self.rate, self.unit, self.samples, self.runner())
