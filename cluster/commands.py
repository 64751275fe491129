"""What `cluster` adds to the `barrage` command: launch and doctor."""

import json
import shlex
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.errors import BadInput

if TYPE_CHECKING:
    from cluster.node_checks import Finding

out, err = Console(), Console(stderr=True)


class On(StrEnum):
    SLURM = "slurm"
    KUBERAY = "kuberay"
    RAY = "ray"


def register(app: typer.Typer) -> None:
    """Adds the commands to the application; `barrage.commands` in pyproject.toml points here."""
    app.command()(launch)
    app.command()(doctor)


def launch(
    campaign: Annotated[Path, typer.Argument(help="a campaign file, such as campaigns/demo.yaml")],
    on: Annotated[On, typer.Option(help="what runs the machines")],
    cluster: Annotated[Path, typer.Option(help="the cluster file; start from cluster/slurm/example.yaml")],
    store: Annotated[str | None, typer.Option(help="where results go; the cluster file's or the campaign's")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would be submitted, ask nobody")] = False,
) -> None:
    """Run a campaign on a cluster: barrage launch campaigns/demo.yaml --on slurm --cluster cluster/slurm/example.yaml"""
    from cluster.launch_orders import submit
    from cluster.launchers import launcher

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


def doctor(
    campaign: Annotated[
        Path | None, typer.Argument(help="a campaign file: its shards are opened and its workers fitted")
    ] = None,
    store: Annotated[str | None, typer.Option(help="write there too; the campaign's own store unless told")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="nodes that must be there; it waits five minutes for them")] = 1,
    rate: Annotated[bool, typer.Option(help="measure what a worker does, seconds for each kind of cell")] = True,
    on: Annotated[On | None, typer.Option(help="ask this kind of cluster whether it would take the campaign")] = None,
    cluster: Annotated[Path | None, typer.Option(help="the cluster file, with --on")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the same in one line, for programs")] = False,
) -> None:
    """Can this machine, or the Ray cluster of RAY_ADDRESS, do the work? barrage doctor campaigns/demo.yaml"""
    from cluster.doctor import doctor as examine
    from cluster.launchers import launcher
    from cluster.node_checks import Finding
    from pipeline.config.campaign import load

    read = load(campaign) if campaign else None
    if on and not (campaign and cluster):
        raise BadInput(f"--on {on.value}: expected a campaign and --cluster, the file with its machines")
    found = []
    if on and campaign and cluster:
        chosen = launcher(on.value, campaign, cluster, store)
        chosen.check(chosen.launch())
        found.append(Finding(on.value, True, "would take the campaign; its nodes are looked at when the job begins"))
    url = store or (read.store if read else None)
    found += examine(read, url, nodes, rate, lambda line: err.print(line, highlight=False))
    if as_json:
        print(json.dumps([asdict(finding) for finding in found]))
    else:
        _show(found)
    raise typer.Exit(int(any(finding.passed is False for finding in found)))


def _show(found: "list[Finding]") -> None:
    view = Table("check", "", "found", "what to do", box=box.SIMPLE_HEAD, pad_edge=False)
    for finding in found:
        mark = "[dim]note" if finding.passed is None else "[green]pass" if finding.passed else "[red]FAIL"
        view.add_row(finding.check, mark, escape(finding.found), "" if finding.passed else escape(finding.remedy))
    out.print(view)
