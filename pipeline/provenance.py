"""Name what numbers come from: the commit of the code, the versions of the libraries, the device."""

import json
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "scikit-image", "ray", "pyarrow")


@lru_cache
def commit() -> str:
    """Return the commit of the checkout, with `+` if files differ from it; outside a checkout, the version of the package."""
    here = Path(__file__).resolve().parent.parent
    git = ["git", "--no-optional-locks", "-C", str(here)]  # a worker that is killed now leaves no lock file in the checkout
    try:
        if not (here / ".git").exists():
            return version("barrage")
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10).stdout
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10).stdout
        return head.strip() + ("+" if dirty else "")
    except (OSError, subprocess.SubprocessError, PackageNotFoundError):
        return "unknown"


@lru_cache
def versions() -> str:
    """Return the versions of Python and of the libraries that decide numbers, as JSON."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return json.dumps(found)


def device_name(device: "torch.device") -> str:
    """Return the name of a device as rows hold it: the GPU's own name, or `cpu` and the processor's architecture."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu {platform.machine()}"
