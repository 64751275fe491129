"""The `barrage` command."""

import csv
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from enum import Enum
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from barrage_plugins import PluginError, allow
from pipeline.errors import BadInput, ClusterLost, StorageError
from pipeline.scoring import summaries
from pipeline.scoring.rules import RULES
from pipeline.status.summary import FILES, Reader

if TYPE_CHECKING:
    from pipeline.execution.detached import Detached

app = typer.Typer(
    help="Evaluate randomised defenses of image classifiers. Start with: barrage run campaigns/demo.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out, err = Console(), Console(stderr=True)

CampaignFile = Annotated[Path, typer.Argument(help="a campaign file, such as campaigns/demo.yaml")]
Modules = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-module",
        help="a module that may be imported: its functions make models (architecture module:function), its BARRAGE_PLUGINS add "
        "transforms, attacks and other kinds; again for more; or name them in BARRAGE_ALLOW_MODULES",
    ),
]
StoreUrl = Annotated[str, typer.Argument(help="the folder of a campaign's results, or its URL such as s3://bucket/demo")]


class Format(str, Enum):
    TERMINAL = "terminal"
    MARKDOWN = "md"
    CSV = "csv"
    JSON = "json"


@app.command()
def run(
    campaign: CampaignFile,
    store: Annotated[str | None, typer.Option(help="where results go; the campaign's own store unless told")] = None,
    here: Annotated[bool, typer.Option("--here", help="in this process, without Ray, for a debugger")] = False,
    allow_module: Modules = None,
    retry_parked: Annotated[
        bool, typer.Option("--retry-parked", help="try again what failed three times and was parked")
    ] = False,
    address: Annotated[str | None, typer.Option(help="of a Ray cluster; else RAY_ADDRESS, or one started here")] = None,
    detached: Annotated[bool, typer.Option("--detach", help="in a process of its own, that outlives the terminal")] = False,
) -> None:
    """Run a campaign, or go on with one: barrage run campaigns/demo.yaml"""
    from pipeline.campaigns.job import prepare
    from pipeline.campaigns.parking import retry
    from pipeline.campaigns.run import run as execute
    from pipeline.campaigns.worker import attacking
    from pipeline.cli.progress import Reporter
    from pipeline.config.campaign import load
    from pipeline.execution import LocalExecutor, RayExecutor
    from pipeline.execution.detached import detach
    from pipeline.store.layout import Store

    allow(allow_module or ())
    plan = load(campaign)
    began = time.monotonic()
    job = prepare(plan, store or plan.store or f"stores/{plan.name}", lambda line: err.print(line, highlight=False))
    if detached:
        again = ["run", str(campaign), "--store", job.store, *(["--here"] if here else [])]
        again += [*(["--address", address] if address else []), *(["--retry-parked"] if retry_parked else [])]
        again += [option for module in allow_module or () for option in ("--allow-module", module)]
        _followed(detach(again, job.store), job.store)
        return
    if retry_parked:
        err.print(f"{retry(Store(job.store))} parked units are to do again", highlight=False)
    executor = (
        LocalExecutor(attacking)
        if here or job.over
        else RayExecutor(job, attacking, address, say=lambda line: err.print(line, highlight=False))
    )
    err.print(f"ready after {time.monotonic() - began:.1f} s, {executor.workers} workers, store {job.store}", highlight=False)
    with closing(executor):
        outcome = execute(job, executor, Reporter(err))
    if outcome.stopped_by:
        err.print(f"stopped; go on with: barrage run {campaign} --store {job.store}", highlight=False, soft_wrap=True)
    elif outcome.refused:
        mend = f"mend that and go on with: barrage run {campaign} --store {job.store}"
        err.print(f"[red]the run can not go on:[/] {outcome.refused}; {mend}", highlight=False, soft_wrap=True)
    else:
        _show(job.store, ["single"], Format.TERMINAL)
        _where(job.store)
    if outcome.failed_units:
        retried = f"retry with: barrage run {campaign} --store {job.store} --retry-parked"
        err.print(f"[red]{_parked(outcome.failed_units)}[/]; {retried}", highlight=False, soft_wrap=True)
    raise typer.Exit(outcome.exit_code)


@app.command()
def plan(
    campaign: CampaignFile,
    gpu: Annotated[str | None, typer.Option(help="for this GPU, such as h100; the device at hand unless told")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="USD for an hour of one device")] = None,
    gpus: Annotated[int, typer.Option(min=1, help="devices at work")] = 1,
    rate: Annotated[float | None, typer.Option(min=1e-9, help="draw-gradients/s to assume where none is known")] = None,
    calibrate: Annotated[bool, typer.Option(help="measure on this machine, seconds for each kind of cell")] = True,
    images: Annotated[
        int | None, typer.Option(min=1, help="so many, as if the shards were there; as they hold unless told")
    ] = None,
    allow_module: Modules = None,
) -> None:
    """What a campaign will cost, before anything is spent: barrage plan campaigns/demo.yaml --gpus 8 --price 2.5"""
    from pipeline.config.campaign import load
    from pipeline.costs.campaign_cost import Asked, quote, show

    allow(allow_module or ())
    asked = Asked(gpu, gpus, price, rate, calibrate, images)
    show(quote(load(campaign), asked, lambda line: err.print(line, highlight=False)), out)


@app.command()
def status(
    store: StoreUrl,
    watch: Annotated[bool, typer.Option("--watch", help="look again and again, until all is done")] = False,
    every: Annotated[float | None, typer.Option(min=0.1, help="seconds between looks; 5 in a terminal, 60 in a log")] = None,
    json: Annotated[bool, typer.Option("--json", help="everything, for programs")] = False,
    files: Annotated[int, typer.Option(min=1, help="result files that are read at most, for accuracy and cost")] = FILES,
) -> None:
    """How far a campaign is, from its files alone: barrage status stores/demo --watch"""
    from pipeline.status import screen

    reader = Reader(store, files)
    if json:
        print(screen.to_json(reader.look()))
    elif watch:
        with suppress(KeyboardInterrupt):
            screen.watch(reader.look, out, every or (5.0 if out.is_terminal else 60.0))
    else:
        screen.show(reader.look(), out)


@app.command()
def table(
    store: StoreUrl,
    format: Annotated[Format, typer.Option(help="how to print it")] = Format.TERMINAL,
    rule: Annotated[
        list[str] | None,
        typer.Option(help=f"decision rules: {', '.join(RULES.builtin)}, or of your packages; default: all"),
    ] = None,
    allow_module: Modules = None,
) -> None:
    """Clean and attacked accuracy under every decision rule: barrage table stores/demo"""
    allow(allow_module or ())
    rules = rule or list(RULES.working())
    for name in rules:
        RULES[name]  # raises for one that is unknown, or whose package cannot be used
    _show(store, rules, format)


@app.command()
def verify(
    store: StoreUrl,
    sample: Annotated[int, typer.Option(min=0, help="images that are judged again, from all cells alike")] = 8,
    allow_module: Modules = None,
) -> None:
    """Prove that a store holds every planned row once, and that its verdicts are right: barrage verify stores/demo"""
    import torch

    from pipeline.campaigns.job import opened
    from pipeline.campaigns.verify import verify as check

    allow(allow_module or ())
    faults = 0
    for fault in check(opened(store), sample, torch.device("cuda" if torch.cuda.is_available() else "cpu")):
        faults += 1
        out.print(fault, highlight=False, markup=False, soft_wrap=True)
    judged = f", {sample} images judged again" if sample else ""
    out.print(f"[green]verified: every planned row once{judged}" if not faults else f"[red]{faults} faults", highlight=False)
    raise typer.Exit(1 if faults else 0)


@app.command()
def compact(
    store: StoreUrl,
    cell: Annotated[str | None, typer.Option(help="only this cell; all unless told")] = None,
) -> None:
    """Merge a store's many small files of rows into few large ones, at any time: barrage compact stores/demo"""
    from pipeline.campaigns.job import opened
    from pipeline.store.compaction import Compacted
    from pipeline.store.compaction import compact as merge
    from pipeline.store.layout import Store

    cells = list(opened(store).cells)
    if cell is not None and cell not in cells:
        raise BadInput(f"--cell {cell}: store {store} has the cells {', '.join(cells)}")
    merged, left = 0, 0
    for name in [cell] if cell else cells:
        for found in merge(Store(store), name):
            if isinstance(found, Compacted):
                merged += found.units
                text = f"{found.file}: {found.units:,} units, {found.rows:,} rows, {found.bytes / 1e6:,.1f} MB"
            else:
                left, text = left + 1, found
            out.print(text, highlight=False, soft_wrap=True)
    out.print(f"{merged:,} units compacted, {left:,} left alone" if merged or left else "nothing to compact")
    raise typer.Exit(1 if left else 0)


@app.command()
def check(
    campaign: CampaignFile,
    store: Annotated[str | None, typer.Option(help="the campaign's store; the checks go into its folder check/")] = None,
    cell: Annotated[str | None, typer.Option(help="the cell to check; the one with the most transforms unless told")] = None,
    images: Annotated[int, typer.Option(min=2, help="images of the sample")] = 8,
    here: Annotated[bool, typer.Option("--here", help="in this process, without Ray, for a debugger")] = False,
    allow_module: Modules = None,
) -> None:
    """Is the attack strong enough? An honest evaluation's checks on a sample: barrage check campaigns/demo.yaml"""
    import torch

    from pipeline.campaigns import check as checks
    from pipeline.campaigns.job import prepare, resolve
    from pipeline.campaigns.run import run as execute
    from pipeline.campaigns.worker import attacking
    from pipeline.cli.progress import Reporter
    from pipeline.config.campaign import load
    from pipeline.execution import LocalExecutor, RayExecutor
    from pipeline.store.layout import Store

    allow(allow_module or ())
    plan = resolve(load(campaign))
    of = checks.chosen(plan, cell)
    url = f"{store or plan.store or f'stores/{plan.name}'}/check/{of.name}"
    job = prepare(checks.campaign_of(plan, of, images), url, lambda line: err.print(line, highlight=False))
    executor = LocalExecutor(attacking) if here or job.over else RayExecutor(job, attacking)
    with closing(executor):
        outcome = execute(job, executor, Reporter(err))
    if outcome.stopped_by:
        err.print(f"stopped; go on with: barrage check {campaign}", highlight=False, soft_wrap=True)
        raise typer.Exit(outcome.exit_code)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = [checks.gradients(job, of, device), *checks.findings(of, url)]
    Store(url).replace("check.json", checks.to_json(of, found))
    view = Table("check", "", "accuracy in %", "why", box=box.SIMPLE_HEAD, title=f"{of.name}, {images} images", pad_edge=False)
    for finding in found:
        mark = "[dim]note" if finding.passed is None else "[green]pass" if finding.passed else "[red]FAIL"
        view.add_row(finding.name, mark, finding.figures, finding.why)
    out.print(view)
    raise typer.Exit(outcome.exit_code or int(any(finding.passed is False for finding in found)))


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="a training file, such as campaigns/train/cifar10-bart.yaml")],
    store: Annotated[str | None, typer.Option(help="the folder of what is trained; the file's own store unless told")] = None,
    here: Annotated[bool, typer.Option("--here", help="in this process, without Ray")] = False,
    allow_module: Modules = None,
) -> None:
    """Train a classifier for a defense, or BPDA networks, or go on with it: barrage train campaigns/train/cifar10-bart.yaml"""
    from pipeline.config.bpda_training import kind

    allow(allow_module or ())
    trained = {"bpda": _train_bpda, "classifier": _train_classifier}[kind(config)]
    outcome, at = trained(config, store, here)
    if outcome.stopped_by:
        err.print(f"stopped; go on with: barrage train {config} --store {at}", highlight=False, soft_wrap=True)
    if outcome.failed_units:
        err.print(f"[red]{outcome.failed_units} failed; run the command again to retry", highlight=False)
    raise typer.Exit(outcome.exit_code)


def _train_bpda(config: Path, store: str | None, here: bool) -> tuple[Any, str]:
    """Networks that imitate the transforms."""
    from pipeline.cli.progress import TrainingReporter
    from pipeline.config.bpda_training import load as read
    from pipeline.execution import LocalExecutor, RayExecutor
    from pipeline.training.bpda_job import prepare
    from pipeline.training.bpda_trainer import training
    from pipeline.training.run import train as execute

    told = read(config)
    job = prepare(told, store or told.store or f"stores/{told.name}", lambda line: err.print(line, highlight=False))
    executor = LocalExecutor(training) if here or not job.todo() else RayExecutor(job, training)
    with closing(executor):
        outcome = execute(job, executor, TrainingReporter(err))
    if not outcome.stopped_by:
        _show_networks(job.store)
    return outcome, job.store


def _train_classifier(config: Path, store: str | None, here: bool) -> tuple[Any, str]:
    """A classifier."""
    from pipeline.cli.training_progress import LearningReporter
    from pipeline.config.classifier_training import load as read
    from pipeline.execution import LocalExecutor
    from pipeline.training import curves
    from pipeline.training.classifier_job import prepare
    from pipeline.training.classifier_trainer import learning
    from pipeline.training.ray_train import RayTrainExecutor
    from pipeline.training.run import learn as execute

    told = read(config)
    job = prepare(told, store or told.store or f"stores/{told.name}", lambda line: err.print(line, highlight=False))
    executor = LocalExecutor(learning) if here or not job.todo() else RayTrainExecutor(job)
    with closing(executor):
        outcome = execute(job, executor, LearningReporter(err))
    if not outcome.stopped_by and not outcome.failed_units:
        drawn = "curves.png" if curves.draw(job.store) else "curves.parquet (a picture too with: pip install 'barrage[plots]')"
        at = f"weights: {job.store}/model.safetensors; what they are: {job.store}/manifest.json; curves: {job.store}/{drawn}"
        out.print(at, highlight=False, soft_wrap=True)
    return outcome, job.store


@app.command()
def pack(
    source: Annotated[str, typer.Argument(help="a folder of images, or `demo` for the 20 photographs of foolbox")],
    folder: Annotated[str, typer.Argument(help="where the shards go: a folder, or a URL such as s3://bucket/photos")],
    labels: Annotated[str, typer.Option(help="`folder`, `name` (..._CLASS.jpg) or a CSV of file name, class")] = "folder",
    per_shard: Annotated[int, typer.Option(min=1, help="images of one shard")] = 1000,
    prefix: Annotated[str, typer.Option(help="shards are called PREFIX-000000.tar")] = "images",
) -> None:
    """Write labelled images as WebDataset shards: barrage pack photos/ data/photos --labels folder"""
    from pipeline.data.pack import labelled, photographs
    from pipeline.data.pack import pack as write

    images = labelled(photographs(), "name", "imagenet_*") if source == "demo" else labelled(Path(source), labels)
    for shard in write(images, folder, prefix, per_shard):
        out.print(shard, highlight=False, soft_wrap=True)


@app.command()
def gallery(
    image: Annotated[Path | None, typer.Argument(help="a photograph; scikit-image's astronaut unless told")] = None,
    folder: Annotated[Path, typer.Option(help="where the pictures go")] = Path("gallery"),
) -> None:
    """Pictures of every transform and of a growing barrage: barrage gallery photo.jpg"""
    from pipeline.reports.gallery import gallery as draw

    for path in draw(image, folder):
        out.print(str(path), highlight=False)


@app.command()
def report(
    store: StoreUrl,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="the page; report.html unless told")] = None,
    figures: Annotated[Path | None, typer.Option(help="a folder for Table 1 (CSV, LaTeX) and curves (PDF, PNG)")] = None,
    allow_module: Modules = None,
) -> None:
    """A page that opens offline, and figures for papers: barrage report stores/demo -o report.html --figures figures/"""
    allow(allow_module or ())
    if output is None and figures is None:
        output = Path("report.html")
    _file(output, "-o", "report.html")
    with _extra():
        if output:
            from pipeline.reports.page import write as page

            content = page(store, output)
            half = "" if content.status.complete else ", of a store that is half finished"
            out.print(f"{output}: {output.stat().st_size / 1e6:.1f} MB{half}", highlight=False, soft_wrap=True)
        if figures:
            from pipeline.reports.figures import write

            for path in write(store, figures):
                out.print(str(path), highlight=False, soft_wrap=True)


@app.command()
def show(
    store: StoreUrl,
    image: Annotated[str, typer.Argument(help="the key of an image, as in the column image_key")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="the picture; IMAGE.png unless told")] = None,
    cell: Annotated[list[str] | None, typer.Option(help="only this cell; again for more; all unless told")] = None,
    allow_module: Modules = None,
) -> None:
    """One image's story as a picture, under each attack: barrage show stores/demo imagenet_01_559 -o story.png"""
    allow(allow_module or ())
    path = output or Path(f"{Path(image).name}.png")
    _file(path, "-o", "story.png")
    with _extra():
        from pipeline.reports.image_trace import story

        cells = story(store, image, path, cell)
    out.print(f"{path}: {image} in {', '.join(cells)}", highlight=False, soft_wrap=True)


def _file(path: Path | None, option: str, example: str) -> None:
    """Raises BadInput if a file can not be written there because it is a folder."""
    if path is not None and path.is_dir():
        raise BadInput(f"{option} {path} is a folder: give a file, such as {path / example}")


@contextmanager
def _extra() -> Iterator[None]:
    """Packages that only reports need are an extra of ours. Raises BadInput where they are missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("jinja2", "matplotlib", "pandas", "scipy"):
            raise
        raise BadInput(f"reports need {error.name}, which is not installed: pip install 'barrage[report]'") from None


def _parked(units: Sequence[str]) -> str:
    """Which units were given up: a few of them by name."""
    more = f" and {len(units) - 3} more" if len(units) > 3 else ""
    return f"{len(units)} parked after three failures, see parked/ in the store: {', '.join(units[:3])}{more}"


def _followed(found: "Detached", store: str) -> None:
    err.print(
        f"detached as process {found.pid}; follow it: tail -f {found.log}\nwhat is done: barrage status {store}\n"
        f"stop it: kill {found.pid} (it leaves checkpoints; the same command goes on)",
        highlight=False,
        soft_wrap=True,
    )


def _show(store: str, rules: list[str], format: Format) -> None:
    from pipeline.campaigns.job import opened
    from pipeline.store.rows import batches

    found = summaries.lines(batches(store, summaries.columns(rules)), rules, opened(store).scopes())
    if format is Format.MARKDOWN:
        print(summaries.markdown(found))
    elif format is Format.JSON:
        print(summaries.to_json(found))
    elif format is Format.CSV:
        rows = [summaries.as_dict(line) for line in found]
        writer = csv.DictWriter(sys.stdout, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print(found)


def _print(found: list[summaries.Line]) -> None:
    """The table in a terminal: columns that say nothing are left out, intervals stand under their rates."""
    body = [summaries.cells(line, lambda rate: rate.brief) for line in found]
    shown = [i for i, name in enumerate(summaries.HEAD) if name not in ("rule", "target hit") or len({r[i] for r in body}) > 1]
    about = "accuracy in %, under it the 95 % interval over images; cost in draw-gradients and device time"
    caption = "\n".join([about, *summaries.notes(found)])
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption=caption, caption_justify="left")
    for i in shown:
        view.add_column(summaries.HEAD[i].replace(" ", "\n"), overflow="fold")
    for row in body:
        view.add_row(*(row[i].replace(" in ", "\n").replace(" + ", "\n+ ") for i in shown))
    out.print(view)


def _show_networks(store: str) -> None:
    from pipeline.models.bpda_networks import entries

    caption = "errors: mean squares on images kept out of training; cosines: with the exact input gradient, where there is one"
    head = ("transform", "error", "identity's\nerror", "cosine", "identity's\ncosine")
    view = Table(*head, box=box.SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    for entry, _ in entries(store).values():
        cosines = ("" if value is None else f"{value:.3f}" for value in (entry.cosine, entry.identity_cosine))
        view.add_row(entry.transform, f"{entry.error:.2e}", f"{entry.identity_error:.2e}", *cosines)
    out.print(view)


def _where(store: str) -> None:
    out.print(
        f"rows: {store}/results/**/*.parquet; every decision rule: barrage table {store}\n"
        f"open them: python -c \"from pipeline.store.rows import results; print(results('{store}').to_pandas())\"",
        highlight=False,
        soft_wrap=True,
    )


@lru_cache
def more_commands() -> None:
    """Adds the commands of packages above this one, such as `cluster`: they name themselves as entry points."""
    for point in entry_points(group="barrage.commands"):
        point.load()(app)


def main() -> None:
    """Runs the command; bad input is one line and exit code 2."""
    more_commands()
    try:
        app()
    except (BadInput, StorageError, PluginError) as error:
        err.print(f"[bold red]barrage:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except ClusterLost as error:
        err.print(f"[bold red]barrage:[/] {error}; run the same command again, it goes on from the checkpoints", soft_wrap=True)
        os._exit(1)  # what is left of Ray in this process would wait for an answer


if __name__ == "__main__":
    main()
