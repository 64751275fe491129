"""What the sections of a campaign file are made of."""

from fractions import Fraction
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _fraction(value: Any) -> Any:
    """`8/255` as well as 0.0314."""
    if isinstance(value, str):
        try:
            return float(Fraction(value.replace(" ", "")))
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"{value!r} is no number: write 8/255 or 0.0314") from None
    return value


Length = Annotated[float, BeforeValidator(_fraction), Field(gt=0, le=1e3)]
"""A distance between images with values in [0, 1]."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""A name that may stand in a file name."""


class Strict(BaseModel):
    """A section: no key that is not known, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Share(Strict):
    """How work is spread over a cluster; decides no number."""

    count: int | None = Field(None, ge=1, description="actors; one a GPU, or else one a core, unless told")
    cpus: float = Field(1, gt=0, description="cores of each actor")
    gpus: float | None = Field(None, ge=0, description="GPUs of each actor; 1 where there are any, unless told")
