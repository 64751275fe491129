"""Nothing from data reaches a terminal, CSV, Markdown, LaTeX or HTML as anything but letters."""

import csv as csv_module
import io
import random
import shlex
import unicodedata
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipeline import escaped
from pipeline.cli import common
from pipeline.status import screen
from pipeline.status.columns import Column, parted, table
from pipeline.status.summary import Reader
from pipeline.store import formats

EVIL = [
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b2J", "a\rb", "a\nb: FAIL", "\u202egnp.exe", "\u2028x", "[bold]b[/bold]",
    "[/]", "[link=http://x]y[/link]",
    "=1+1", "+cmd|' /C calc'!A0", "@SUM(A1)", "-2+3", "\t=1", "|a|b|", "[x](javascript:alert(1))",
    "<b>x</b>", "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "\\input{/etc/passwd}", "$x^2$", "100%",
    "a_b^c~d", "`ls`", "*a*", "http://x.y", "\x00", "\ud800", "\u200b", "{{ 7*7 }}", "漢字 é",
]  # fmt: skip

_CHOSEN = random.Random(3)
ALPHABET = [chr(i) for i in range(256)] + list("[]{}<>|=+-@$%&#_^~\\`'\"\u202e\u2028\u200b\ud800漢é")
FUZZ = EVIL + ["".join(_CHOSEN.choices(ALPHABET, k=_CHOSEN.randrange(1, 12))) for _ in range(400)]


def unseen(text):
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


@pytest.mark.parametrize("text", EVIL)
def test_a_line_is_one_line_of_letters_that_can_be_read_back(text):
    found = escaped.line(text)
    assert not unseen(found) and len(found.splitlines()) == 1
    assert escaped.line(found) == found, "what is shown already stays as it is"
    assert (
        found.encode("ascii", "backslashreplace").decode("unicode_escape").encode("utf-16", "surrogatepass")
        == text.encode("utf-16", "surrogatepass")
        or "\\" in text
    )


def test_every_format_is_free_of_what_it_would_obey():
    for text in FUZZ:
        for function in (escaped.line, escaped.markdown, escaped.csv, escaped.latex, escaped.mathtext):
            assert not unseen(function(text)), (function, text)
        assert escaped.csv(text)[:1] not in tuple("=+-@\t\r|%")
        cell = escaped.markdown(text)
        for special in "|`*_[]<>#":
            assert cell.replace("\\" + special, "").count(special) == 0, (special, text)
        kept = escaped.latex(text)
        for command in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}", r"\textless{}", r"\textgreater{}",
                        r"\textquotedbl{}", *("\\" + c for c in "&%$#_{}")):  # fmt: skip
            kept = kept.replace(command, "")
        assert not set(kept) & set("\\&%$#_{}^~<>"), text


def test_a_csv_is_read_back_and_no_cell_is_a_formula():
    buffer = io.StringIO()
    csv_module.writer(buffer).writerows([[escaped.csv(text)] for text in FUZZ])
    found = [row[0] for row in csv_module.reader(io.StringIO(buffer.getvalue()))]
    assert [text.removeprefix("'") if text != escaped.line(o) else text for text, o in zip(found, FUZZ, strict=True)] == [
        escaped.line(text) for text in FUZZ
    ]


def test_a_figure_takes_any_text_as_letters():
    from matplotlib import pyplot as plt

    for text in EVIL:
        figure = plt.figure(figsize=(1, 1))
        figure.suptitle(escaped.mathtext(text))
        figure.canvas.draw()
        plt.close(figure)


def test_a_printed_command_gives_the_shell_its_words_back():
    for text in ("a b", "it's", "[x]", "$HOME", "~", 'say "x"', "a;b", "*"):
        assert shlex.split(escaped.command("barrage", "run", text)) == ["barrage", "run", text]
        assert eval(escaped.python(text)) == text


def test_what_commands_print_is_letters(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(common, "err", Console(file=said, force_terminal=True, color_system=None, width=400))
    monkeypatch.setattr(common, "out", common.err)
    for text in EVIL:
        said.truncate(0), said.seek(0)
        common.note(text, text)
        common.answer(text)
        common.out.print(common.shown(text))
        shown = said.getvalue().removesuffix("\n")
        assert not unseen(shown.replace("\n", "")) and len(shown.splitlines()) == 3, text
        assert shown.splitlines()[1].strip() == escaped.line(text).strip(), "nothing is taken for markup"


def test_tables_show_names_of_any_text():
    for text in FUZZ:
        shown = io.StringIO()
        console = Console(file=shown, width=80, force_terminal=True, color_system=None)
        console.print(table([text], [Column("head", 0, ["1"])], 80))
        assert not unseen(shown.getvalue().replace("\n", "")), text


def test_names_are_broken_between_their_parts_only():
    name = "efficientnet_lite0-bart10_strong-pgd_untargeted_long"
    assert parted(name, 30).split("\n") == ["efficientnet_lite0-", "bart10_strong-", "pgd_untargeted_long"]
    assert parted("a-b-c", 30) == "a-b-c"


def marked(folder):
    """Put texts of a stranger into a store: a cell's parked unit, a checkpoint, an error in rows."""
    unit = next(iter(folder.glob("results/net-bart2-pgd--*.parquet")))
    attempt = {"worker": "w", "host": "\x1b[31mh", "when": "[red]now", "error": "x\n\x1b]0;t\x07[bold]=1"}
    content = {"unit": unit.stem, "attempts": [attempt]}
    (folder / "parked").mkdir(exist_ok=True)
    (folder / "parked" / f"{unit.stem}.json").write_bytes(formats.to_json(content))
    (folder / "parked" / "\x1b[31m[bold]odd.json").write_text("{}")
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "\x1b[31m\u202e<b>odd.safetensors").write_bytes(b"x")
    table = pq.ParquetFile(unit).read()
    for name, text in (("error", "<script>alert(1)</script>\x1b[31m"), ("image_key", "\x1b[31m$k$=<b>[x]")):
        place = table.schema.get_field_index(name)
        texts = [f"{text}{i}" for i in range(len(table))]  # no two images of one key
        table = table.set_column(place, table.schema.field(place), [texts])
    place = table.schema.get_field_index("status")
    table = table.set_column(place, table.schema.field(place), [["bad_image"] * len(table)])
    pq.write_table(table, unit, write_page_checksum=True)
    unit.rename(unit.with_suffix(".kept"))
    status = Reader(str(folder)).status()
    unit.with_suffix(".kept").rename(unit)
    return status


def test_a_strangers_store_reaches_no_output_raw(copied, tmp_path, barrage):
    folder = copied()
    status = marked(folder)
    terminal, log = io.StringIO(), io.StringIO()
    Console(file=terminal, width=200, force_terminal=True, color_system=None).print(screen.view(status, 200))
    screen.show(status, Console(file=log, width=200))
    for text in (terminal.getvalue(), log.getvalue(), screen.to_json(status)):
        assert "h\\x1b[31m" in text or "x1b" in text or "u001b" in text, "the texts are there"
        assert not unseen(text.replace("\n", ""))
    more = {"export": [tmp_path / "r.parquet"], "report": ["-o", tmp_path / "r.html"], "show": ["-o", tmp_path / "s.png"]}
    for line in ("status", "table", "table --format md", "table --format csv", "table --format json", "verify --sample 0",
                 "export", "show \x1b[31m[x]", "report"):  # fmt: skip
        name, *arguments = line.split(" ")
        arguments += more.get(name, [])
        _, out, err = barrage(name, folder, *arguments)
        assert not unseen((out + err).replace("\r\n", "").replace("\n", "")), line  # a CSV's lines end with both
        assert "Traceback" not in out + err
    page = Path(tmp_path / "r.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert not unseen(page.replace("\n", "").replace("\t", ""))


def test_files_of_figures_are_free_of_formulas(tmp_path):
    from pipeline.reports import figures

    frame = pd.DataFrame({"cell": ["=1+1", "\\input{x}"], "images": [1, 2]})
    text = figures.latex(frame, "100 % \\end{table}")
    assert r"\textbackslash{}input\{x\}" in text and r"100 \% \textbackslash{}end\{table\}" in text
