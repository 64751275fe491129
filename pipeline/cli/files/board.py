"""Define `barrage board`: add a store's defenses to a board, check its entries, and build its pages."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.common import Cells, Modules, StoreUrl, allow, answer, note
from pipeline.errors import BadInput

if TYPE_CHECKING:
    from pipeline.board import Entry

board = typer.Typer(
    no_args_is_help=True, help="Keep a board of defenses, ranked by what the standard attack leaves: barrage board check"
)
"""The group of commands."""

Folder = Annotated[Path, typer.Option("--board", help="the folder of the board, with its entries in entries/")]
PAGE = Path("docs/board.md")
"""The page with the tables of the project's own board."""


@board.command()
def add(
    store: StoreUrl,
    dataset: Annotated[str, typer.Option(help='name of the images, as on the board: "CIFAR-10, test"')],
    by: Annotated[str, typer.Option(help="who submits it")],
    link: Annotated[str, typer.Option(help="where code, weights and data are found, from http:// on")],
    citation: Annotated[str, typer.Option(help="what to cite for the defense")],
    cell: Cells = None,
    folder: Folder = Path("board"),
    allow_module: Modules = None,
) -> None:
    """Add the defenses of a store, each with all its attacks, or say why one is refused:
    barrage board add stores/demo --dataset CIFAR-10 --by NAME --link https://example.org --citation TEXT"""
    from pipeline.board import FOLDER, URL, Submission, gather, groups, refusals
    from pipeline.campaigns.job import opened

    allow(allow_module)
    for option, text in (("--dataset", dataset), ("--by", by), ("--citation", citation)):
        if not 0 < len(text.strip()) <= 300:
            raise BadInput(f"{option} has {len(text)} characters: expected 1 to 300")
    if not re.fullmatch(URL, link) or len(link) > 500:
        raise BadInput(f"--link {link}: expected an address of the web, such as https://example.org/defense")
    job, refused = opened(store), 0
    for cells in groups(job, cell):
        title = f"{cells[0].model_name}, {cells[0].defense_name}"
        try:
            entry = gather(job, cells, dataset, Submission(by=by, link=link, citation=citation))
            reason = next(refusals(entry), None)
        except BadInput as error:
            reason = str(error)
        if reason:
            note(f"{title} refused: {reason}")
            refused += 1
            continue
        _write(entry, folder / FOLDER)
    raise typer.Exit(int(refused > 0))


def _write(entry: "Entry", folder: Path) -> None:
    """Write an entry, and print its file and its figures. Raises BadInput where the file holds another cell."""
    from pipeline.board import encode, read
    from pipeline.board.pages import figure
    from pipeline.board.ranking import standard

    path, own = folder / f"{entry.name}.json", standard(entry)
    known = read(path).standard if path.exists() else own
    if known is None or known.identity != own.identity:
        raise BadInput(f"{path} is the entry of another cell of that name: give the campaign another name")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(entry))
    rates = own.rules["single"]
    answer(f"{path}: {entry.defense.summary}: clean {figure(rates.clean)}, under the standard attack {figure(rates.attacked)}")


@board.command()
def check(folder: Folder = Path("board")) -> None:
    """Check every entry: its schema, its hash, its rates from their counts, and the rules: barrage board check"""
    from pipeline.board import files, read, refusals

    paths, seen, wrong = files(folder), dict[tuple[str, str], Path](), 0
    for path in paths:
        try:
            entry = read(path)
        except BadInput as error:
            note(error)
            wrong += 1
            continue
        reasons = [f"{path}: {reason}" for reason in refusals(entry)]
        own = entry.standard.identity if entry.standard else entry.name
        if (first := seen.setdefault((own, str(sorted(entry.data.shards.items()))), path)) != path:
            reasons.append(f"{path}: {first} is an entry of the same cell on the same images: keep one")
        for reason in reasons:
            note(reason)
        wrong += bool(reasons)
    answer(f"{len(paths)} entries, {wrong} wrong" if wrong else f"{len(paths)} entries, all in order")
    raise typer.Exit(int(wrong > 0))


@board.command()
def build(
    target: Annotated[Path, typer.Argument(help="a folder for the page as one HTML file, index.html", metavar="DIR")] = Path(
        "build/board"
    ),
    page: Annotated[
        Path | None, typer.Option(help="a Markdown page to write the tables into; default: docs/board.md, if it is there")
    ] = None,
    folder: Folder = Path("board"),
) -> None:
    """Write the board as one HTML file, and its tables into a page: barrage board build build/board"""
    from pipeline.board import files, filled, html, read, refusals

    entries = {path: read(path) for path in files(folder)}
    for path, entry in entries.items():
        if reason := next(refusals(entry), None):
            raise BadInput(f"{path}: {reason}; see all with barrage board check")
    into = page or PAGE
    if page and not page.is_file():
        raise BadInput(f"--page {page} is no file: give a Markdown page with the comments that mark where tables go")
    tables = filled(into.read_text(), entries.values()) if into.is_file() else None
    target.mkdir(parents=True, exist_ok=True)
    (target / "index.html").write_text(html(entries.values()))
    answer(f"written: {target / 'index.html'}")
    if tables is not None:
        into.write_text(tables)
        answer(f"written: {into}")
