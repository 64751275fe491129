"""Say in one line which extra of barrage brings a package that is not installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

PACKAGES = {
    "campaigns": (
        "PIL", "braceexpand", "jinja2", "markupsafe", "obstore", "pyarrow", "pydantic", "ray", "rich",
        "safetensors", "scipy", "skimage", "typer", "yaml",
    ),
    "report": ("matplotlib", "pandas"),
    "view": ("duckdb", "starlette", "uvicorn"),
}  # fmt: skip
"""The packages that each extra brings, by the name that Python imports."""


@contextmanager
def explained() -> Iterator[None]:
    """End the program with exit code 2 and one line where an import fails for lack of an extra; other errors pass."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not (line := remedy(error)):
            raise
        print(f"barrage: {line}", file=sys.stderr)
        sys.exit(2)


def remedy(error: ModuleNotFoundError) -> str | None:
    """Return what to install for a failed import; None where no extra brings the package."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in PACKAGES.items():
        if package in packages:
            return f"this command needs {package}, which is not installed: pip install 'barrage[{extra}]'"
    return None
