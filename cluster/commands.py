"""Add `launch` and `doctor` to the `barrage` command."""

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

from pipeline.cli import completion
from pipeline.cli.common import CampaignFile, found_file
from pipeline.cli.files.schema import FILES
from pipeline.errors import BadInput

if TYPE_CHECKING:
    from cluster.node_checks import Finding
    from pipeline.config.schema import Schema

out, err = Console(), Console(stderr=True)


class On(StrEnum):
    """Name the kinds of cluster."""

    SLURM = "slurm"
    KUBERAY = "kuberay"
    RAY = "ray"


def register(app: typer.Typer) -> None:
    """Add both commands, once, and the schema of cluster files. The entry point `barrage.commands` points here."""
    present = [command.callback for command in app.registered_commands]
    for command in (launch, doctor):
        if command not in present:
            app.command(rich_help_panel="Use a cluster")(command)
    FILES["cluster"] = _schema


def _schema() -> "Schema":
    """Return the JSON schema of cluster files."""
    from cluster.launchers import schema

    return schema()


def launch(
    campaign: CampaignFile,
    on: Annotated[On, typer.Option(help="the kind of cluster")],
    cluster: Annotated[Path, typer.Option(help="the cluster file; start from cluster/slurm/example.yaml")],
    store: Annotated[str | None, typer.Option(help="default: the cluster file's store, else the campaign's")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would be submitted, and contact no cluster")] = False,
) -> None:
    """Run a campaign on a cluster: barrage launch campaigns/demo.yaml --on slurm --cluster cluster/slurm/example.yaml"""
    from cluster.launch_orders import submit
    from cluster.launchers import launcher

    chosen = launcher(on.value, campaign, cluster, store)
    filled = chosen.launch()
    if dry_run:
        for name, text in filled.files.items():
            print(f"# {chosen.order.folder / name}\n{text}")
        for command in filled.commands:
            print("$", shlex.join(command))
        return
    chosen.check(filled)
    out.print(submit(filled, chosen.order.folder), highlight=False, soft_wrap=True)
    for title, lines in (("follow", filled.follow), ("stop", filled.stop)):
        for line in lines:
            out.print(f"{title}: {line}", highlight=False, soft_wrap=True)


def doctor(
    campaign: Annotated[
        Path | None,
        typer.Argument(
            help="a campaign file: open its shards, check that its workers fit",
            callback=found_file,
            autocompletion=completion.campaigns,
        ),
    ] = None,
    store: Annotated[str | None, typer.Option(help="try to write here; default: the campaign's own store")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="nodes that must be there; waits up to five minutes for them")] = 1,
    rate: Annotated[bool, typer.Option(help="measure the speed of a worker; takes seconds for each kind of cell")] = True,
    on: Annotated[On | None, typer.Option(help="ask this kind of cluster whether it would accept the campaign")] = None,
    cluster: Annotated[Path | None, typer.Option(help="the cluster file, with --on")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one line of JSON, for programs")] = False,
) -> None:
    """Check that this machine, or the Ray cluster at RAY_ADDRESS, can do the work: barrage doctor campaigns/demo.yaml"""
    from cluster.doctor import doctor as check_nodes
    from cluster.launchers import launcher
    from cluster.node_checks import Finding
    from pipeline.config.campaign import load

    read = load(campaign) if campaign else None
    if on and not (campaign and cluster):
        raise BadInput(f"--on {on.value}: expected a campaign and --cluster, the file with its machines")
    results = []
    if on and campaign and cluster:
        chosen = launcher(on.value, campaign, cluster, store)
        chosen.check(chosen.launch())
        results.append(Finding(on.value, True, "would accept the campaign; its nodes are checked when the job begins"))
    url = store or (read.store if read else None)
    results += check_nodes(read, url, nodes, rate, lambda line: err.print(line, highlight=False))
    if as_json:
        print(json.dumps([asdict(finding) for finding in results]))
    else:
        _show(results)
    raise typer.Exit(int(any(finding.passed is False for finding in results)))


def _show(results: "list[Finding]") -> None:
    """Print the results of checks as a table."""
    view = Table("check", "", "found", "what to do", box=box.SIMPLE_HEAD, pad_edge=False)
    for finding in results:
        mark = "[dim]note" if finding.passed is None else "[green]pass" if finding.passed else "[red]FAIL"
        view.add_row(finding.check, mark, escape(finding.found), "" if finding.passed else escape(finding.remedy))
    out.print(view)
