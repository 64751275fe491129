"""Build the libraries of the page again, from npm with the exact versions of package.json. Needs npm and the network.

    python -m pipeline.view.page.vendor

Writes preact.js, plot.js, grid.js, parquet.js and LICENSES.txt here, and axe.js, for tests alone, into tests/support/page.
"""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parents[3] / "tests" / "support" / "page"

GLOBALS = {"preact": "preact", "plot": "Plot", "grid": "agGrid", "parquet": "parquet"}
"""{script here: the global name that it defines}; entries/ says what each exports."""

_PACKAGE = re.compile(r"node_modules/((?:@[^/]+/)?[^/]+)")


def build(work: Path) -> None:
    """Bring the packages into the folder `work`, bundle them, and write the scripts and their licences here."""
    shutil.copytree(HERE / "entries", work, dirs_exist_ok=True)
    shutil.copy(HERE / "package.json", work)
    _call(work, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact")
    bundled: set[str] = set()
    for name, variable in GLOBALS.items():
        _call(
            work, "node_modules/.bin/esbuild", f"{name}.js", "--bundle", "--minify", "--format=iife",
            f"--global-name={variable}",
            "--target=es2020", "--legal-comments=none", "--metafile=meta.json", f"--outfile=out/{name}.js",
        )  # fmt: skip
        inputs = json.loads((work / "meta.json").read_text())["inputs"]
        bundled |= {found[-1] for path in inputs if (found := _PACKAGE.findall(path))}
        shutil.copy(work / "out" / f"{name}.js", HERE / f"{name}.js")
    pinned = json.loads((HERE / "package.json").read_text())["dependencies"]
    if wrong := sorted(bundled - pinned.keys()):
        raise SystemExit(f"bundled but without an exact version: add to {HERE / 'package.json'}: {', '.join(wrong)}")
    (HERE / "LICENSES.txt").write_text("\n\n".join(_licence(work, name) for name in sorted(bundled)))
    TESTS.mkdir(parents=True, exist_ok=True)
    shutil.copy(work / "node_modules/axe-core/axe.min.js", TESTS / "axe.js")
    (TESTS / "LICENSES.txt").write_text(_licence(work, "axe-core"))


def _licence(work: Path, name: str) -> str:
    """Return the name, version and licence of a package as text."""
    folder = work / "node_modules" / name
    about = json.loads((folder / "package.json").read_text())
    texts = [path.read_text().strip() for path in sorted(folder.glob("LICENSE*")) if path.suffix in ("", ".txt", ".md")]
    return "\n".join([f"=== {name} {about['version']}: {about['license']}", "", *texts, ""])


def _call(work: Path, *words: str) -> None:
    subprocess.run(words, cwd=work, check=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
