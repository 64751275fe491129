"""Define the attacks of a campaign file that others made: a function of theirs, or finished examples."""

import hashlib
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

import bart
from pipeline.config import contents
from pipeline.config.attacks.settings import KIND, Plain
from pipeline.config.functions import function_of
from pipeline.errors import BadInput

Setting = bool | int | float | str | None
"""A value that a file gives a function."""

NAMED = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
SHA256 = "^[0-9a-f]{64}$"
WHAT = "external attack"
EXPECTED = "of a model, images and labels, which returns examples"


class External(Plain):
    """A function of yours or of another library, `function(model, x, y, **settings) -> examples`. Of the keys of every attack
    it has `norm`, `eps`, `eot_draws` and `transfer`. See docs/your-attack.md."""

    kind: Literal["external"] = Field(description=KIND)
    function: str = Field(
        pattern=NAMED,
        description="package.module:function, which the option --allow-module allows; it gets a torch module that meets fresh "
        "draws at each call, images (n, 3, h, w) in [0, 1] and labels (n,)",
    )
    settings: dict[str, Setting] = Field({}, description="more arguments for the function, by name")
    code_sha256: str | None = Field(None, pattern=SHA256, description="hash of the file of its module, to check it by")
    eot_draws: int = Field(1, ge=1, description="draws of one call of the model, the mean of whose logits it returns")
    batch: int = Field(
        1, ge=1, description="images that the function gets at once; with 1, an example depends on its image alone"
    )
    policy: Literal["combo", "identity"] = Field("combo", description="how transforms are differentiated, as of pgd")

    def once(self, draws: int) -> bart.Attack:
        called = Called(self.function, self.settings, self.code_sha256)
        return bart.External(self.ball, called, self.function, draws, self.batch, policy=self.policy)

    def checked(self) -> "External":
        """Return the settings with the hash of the function's module filled in. Raises BadInput if it cannot be used."""
        sha256 = Called(self.function, self.settings, self.code_sha256).checked()
        return self.model_copy(update={"code_sha256": sha256})

    @property
    def gradient(self) -> str:
        return self.policy

    @property
    def at_once(self) -> int | None:
        return self.batch


class Examples(Plain):
    """Finished examples of any tool, judged by fresh draws as all are. Of the keys of every attack it has `norm` and `eps`. See
    docs/your-attack.md."""

    kind: Literal["examples"] = Field(description=KIND)
    path: str = Field(
        description="a .npz, .npy, .pt or .pth file of images (n, 3, h, w) in [0, 1] or uint8, a folder of image files, or "
        "WebDataset tars by a pattern"
    )
    sha256: str | None = Field(None, pattern=SHA256, description="hash of the examples, to check them by")
    match: Literal["key", "order"] | None = Field(
        None,
        description="how examples find their images: by the key of each, or by the order of shards and images; default: by key "
        "where the examples have keys",
    )
    eot_draws: ClassVar[int] = 1  # type: ignore[misc]
    transfer: ClassVar[bool] = False  # type: ignore[misc]
    undecisive: ClassVar[frozenset[str]] = frozenset({"path"})

    def once(self, draws: int) -> bart.Attack:
        return bart.Given(self.ball)


@dataclass(frozen=True)
class Called:
    """Call a function that a campaign file names, imported when it is first called. It must be the one that was checked."""

    name: str
    settings: dict[str, Any] = field(hash=False)
    sha256: str | None

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        self.checked()
        return function_of(self.name, WHAT, EXPECTED)(model, x, y, **self.settings)

    def checked(self) -> str | None:
        """Return the hash of the function's module. Raises BadInput if it is another one, or takes other arguments."""
        found = function_of(self.name, WHAT, EXPECTED)
        try:
            signature(found).bind(None, None, None, **self.settings)
        except (TypeError, ValueError) as error:
            raise BadInput(
                f"{WHAT} {self.name}: {error}: expected a function {EXPECTED}, which takes the keys of settings"
            ) from None
        file = contents.code(self.name)
        sha256 = hashlib.sha256(file).hexdigest() if file else None
        if self.sha256 not in (None, sha256):
            raise BadInput(
                f"{WHAT} {self.name}: its module has SHA-256 {sha256}, expected {self.sha256}: restore it, or correct "
                "code_sha256"
            )
        return sha256
