"""Define `barrage check`: run the checks of an honest evaluation on a sample of a campaign."""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from pipeline.cli import completion
from pipeline.cli.common import CampaignFile, Here, Limit, Modules, allow, device, err, note, out, shown, store_of
from pipeline.escaped import command

if TYPE_CHECKING:
    from collections.abc import Sequence


def check(
    campaign: CampaignFile,
    store: Annotated[
        str | None,
        typer.Option(help="the campaign's store; the checks go into its folder check/", autocompletion=completion.stores),
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option(help="the cell to check; default: the one with the most transforms", autocompletion=completion.cells),
    ] = None,
    images: Annotated[int, typer.Option(min=2, help="images of the sample")] = 8,
    limit: Limit = None,
    here: Here = False,
    allow_module: Modules = None,
) -> None:
    """Check on a sample whether the attack is strong enough for an honest evaluation: barrage check campaigns/demo.yaml"""
    from pipeline.campaigns import check as checks
    from pipeline.campaigns.prepare import prepare, resolve
    from pipeline.campaigns.run import run as execute
    from pipeline.campaigns.worker import attacking
    from pipeline.cli.progress import Reporter
    from pipeline.config.campaign import load
    from pipeline.execution import LocalExecutor, RayExecutor
    from pipeline.store.layout import Store

    allow(allow_module, campaign)
    config = resolve(load(campaign).limited(limit))
    checked = checks.chosen(config, cell)
    url = f"{store_of(config, store)}/check/{checked.name}"
    variants = checks.campaign_of(config, checked, images)
    job = prepare(variants, url, note, variants.attacks.keys() - {checks.BASE})
    executor = LocalExecutor(attacking) if here or job.over else RayExecutor(job, attacking)
    with closing(executor):
        outcome = execute(job, executor, Reporter(err))
    if outcome.stopped_by:
        limited = ["--limit", limit] if limit else []
        note(f"stopped; resume with: {command('barrage', 'check', campaign, *limited, '--store', store_of(config, store))}")
        raise typer.Exit(outcome.exit_code)
    sample = checks.sample(job, checked, device(job.workers))
    findings = [checks.gradients(checked, sample), checks.hidden(checked, sample), *checks.findings(checked, url)]
    Store(url).replace("check.json", checks.to_json(checked, findings))
    _show(findings, f"{checked.name}, {variants.data.limit} images")
    raise typer.Exit(outcome.exit_code or int(any(finding.passed is False for finding in findings)))


def _show(findings: "Sequence[Any]", title: str) -> None:
    view = Table("check", "", "accuracy in %", "why", box=box.SIMPLE_HEAD, title=shown(title), pad_edge=False)
    for finding in findings:
        mark = "[dim]note" if finding.passed is None else "[green]pass" if finding.passed else "[red]FAIL"
        view.add_row(shown(finding.name), mark, shown(finding.figures), shown(finding.why))
    out.print(view)
