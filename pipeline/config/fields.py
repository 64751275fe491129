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


Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?$")]
"""A key or value of a node's labels, as Ray allows them."""


class Strict(BaseModel):
    """A section: no key that is not known, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Share(Strict):
    """How work is spread over a cluster; decides no number."""

    count: int | None = Field(None, ge=1, description="actors at most; as many as the cluster has room for, unless told")
    cpus: float = Field(1, gt=0, description="cores of each actor")
    gpus: float | None = Field(None, ge=0, description="GPUs of each actor; 1 where there are any, unless told")
    accelerator: str | None = Field(None, pattern="^[A-Za-z0-9_.-]+$", description="the GPU as Ray calls it: V100, H100")
    labels: dict[Label, Label] = Field({}, description="labels that a node must have, such as market-type: spot")
    silent_seconds: float = Field(60, ge=5, description="without an answer of an actor, until its unit goes to another")
    stuck_seconds: float = Field(1800, gt=0, description="without progress of a unit, until it goes to another actor")
    ready_seconds: float = Field(600, gt=0, description="until an actor must have started, or is asked for anew")
