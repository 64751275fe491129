"""What `cluster` adds to the `barrage` command: launch and doctor."""

import shlex
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


out, err = Console(), Console(stderr=True)


class On(str, Enum):
    SLURM = "slurm"
    KUBERAY = "kuberay"
    RAY = "ray"


def register(app: typer.Typer) -> None:
    """Adds the commands to the application; `barrage.commands` in pyproject.toml points here."""
    app.command()(launch)


def launch(
    campaign: Annotated[Path, typer.Argument(help="a campaign file, such as campaigns/demo.yaml")],
    on: Annotated[On, typer.Option(help="what runs the machines")],
    cluster: Annotated[Path, typer.Option(help="the cluster file; start from cluster/slurm/example.yaml")],
    store: Annotated[str | None, typer.Option(help="where results go; the cluster file's or the campaign's unless told")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would be submitted, ask nobody")] = False,
) -> None:
    """Run a campaign on a cluster: barrage launch campaigns/demo.yaml --on slurm --cluster cluster/slurm/example.yaml"""
    from cluster.launchers import launcher
    from cluster.recipe import submit

    chosen = launcher(on.value, campaign, cluster, store)
    found = chosen.launch()
    if dry_run:
        for name, text in found.files.items():
            print(f"# {chosen.order.folder / name}\n{text}")
        for command in found.commands:
            print("$", shlex.join(command))
        return
    chosen.check(found)
    out.print(submit(found, chosen.order.folder), highlight=False, soft_wrap=True)
    for title, lines in (("follow", found.follow), ("stop", found.stop)):
        for line in lines:
            out.print(f"{title}: {line}", highlight=False, soft_wrap=True)
