"""Keep docstrings in the imperative, and phrases that a reader has to guess out of the source, the pages and the helps."""

import ast
import re

import pytest

from tests.support.source.imports import ROOT, nodes
from tests.support.source.pages import cli

PACKAGES = ("bart", "pipeline", "cluster", "barrage_plugins", "benchmarks", "docs")

VERBS = """
Access Add Allocate Allow Annotate Answer Append Apply Ask Attack Average Begin Blur Bring Build Call Carve Change Check
Choose Classify Clip Clone Close Code Collect Commit Compare Compile Complete Compute Configure Connect Convert Copy
Correct
Count Create Crop Cut Decide Decode Decompose Defend Define Denoise Describe Differentiate Divide Do Double Draw Drop
Encode End Enlarge Equalise Estimate Evaluate Export Fill Filter Find Finish Follow Forget Format Freeze Gather Give Go
Hand Handle Hash Hide Hold Imitate Import Interpolate Invert Join Judge Keep Kill Launch Lay Leave Let List Load Log
Make Map Mark Measure Mirror Mix Move Multiply Name Open Order Pack Park Pass Plan Plant Predict Print Propose Prove Put
Quantise Queue Quote Raise Read Reckon Reconstruct Record Reduce Remove Reorder Repeat Replace Report Resize Restore
Return Round Run Sample Save Say Scale Score Seal Send Set Settle Share Shift Shorten Show Shrink Simulate Solve Spend Start
Step Stop Store Stretch Sum Summarise Swirl Take Teach Time Tolerate Track Train Try Turn Use Wait Warn Watch Work Wrap Write
Yield
"""
"""The first words of docstrings. Add a verb here when a docstring needs a new one."""
_VERBS = frozenset(VERBS.split())

PLAIN = {
    "unless told": "default: ...",
    "told": "the thing itself: the settings, the file, the argument",
    "a look": "an interim check, or a status",
    "look(?:s|ed|ing)? at": "check, read or measure",
    "as it was found": "unchanged",
    "so many": "the number, or its name",
    "of the clock": "wall-clock",
    "(?:come|comes|came|coming) to nothing": "fail",
    "in the hand": "in memory, or open",
    "at the admission": "where it enters: in the parser, at the start",
    "(?:whoever|somebody|nobody|everybody)": "who it is: the user, a worker, no process",
    "(?:is|are|was|were) through": "is done",
    "left alone": "unchanged, or skipped",
    "the like": "the things themselves",
    "(?:take|takes|took|taken) apart": "split, or parse",
    "lies there": "is there",
    "(?:give|gives|gave) up on": "park, or stop",
    "is said": "is written, or is reported",
    "say what": "describe, name or report",
    "(?:speak|speaks|spoke) for": "describe, or suffice for",
}
"""{phrase that a reader has to guess: what to write instead}."""

_GAP = r"(?:[\s#\"']|(?<=[\s\"'])f(?=[\"']))+"
_PHRASES = re.compile(rf"\b(?:{'|'.join(PLAIN)})\b".replace(" ", _GAP))
"""Any of these phrases in lower case, also where a line, a comment or a string ends within one."""

TEXTS = (
    ".cff", ".css", ".html", ".jinja", ".js", ".json", ".md", ".mplstyle", ".py", ".sbatch", ".sh", ".toml", ".yaml", ".yml",
)  # fmt: skip
"""The endings of the files whose text is checked."""

VENDORED = frozenset((ROOT / "pipeline" / "view" / "page" / "vendor").glob("*.js"))
"""Libraries of the viewer's page, in the words of others."""

FOLDERS = (*PACKAGES, "campaigns", "examples", "findings", "notebooks")


def docstrings(path):
    """Yield (line, docstring, node) of a module, its classes and functions."""
    for node in nodes(path):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text, node


def sections():
    """Return the names of the sections of files: the classes of pipeline/config that descend from Strict."""
    bases = {}
    for path in (ROOT / "pipeline" / "config").rglob("*.py"):
        for node in nodes(path):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {base.id for base in node.bases if isinstance(base, ast.Name)}
    found = {"Strict"}
    while new := {name for name, above in bases.items() if above & found} - found:
        found |= new
    return found - {"Strict"}


def without_verb(path, exempt=frozenset()):
    """Yield a line for each docstring of a file that does not begin with one of VERBS, except those of the classes `exempt`."""
    for line, text, node in docstrings(path):
        word = re.match(r"[^\s:,.]*", text.lstrip())[0]
        if word not in _VERBS and not (isinstance(node, ast.ClassDef) and node.name in exempt):
            yield f"{path}:{line}: begins with {word!r}: write a verb such as Return, Read or Hold; new verbs go into VERBS"


def guessed(text, where):
    """Yield a line for each phrase of PLAIN in a text, with its place and what to write instead."""
    for match in _PHRASES.finditer(text.lower()):
        line = text.count("\n", 0, match.start()) + 1
        phrase = " ".join(re.sub(_GAP, " ", match[0]).split())
        instead = next(words for banned, words in PLAIN.items() if re.fullmatch(banned, phrase))
        yield f"{where}:{line}: {phrase!r}: write instead: {instead}"


def sources():
    """Yield the texts that users and contributors read, without the rows and campaigns that results were made of."""
    for path in [*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]:
        ours = (ROOT / "docs" / "results") not in path.parents[1:] and path not in VENDORED
        if path.suffix in TEXTS and path.is_file() and ours:
            yield path


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_begin_with_a_verb(package):
    exempt = sections() if package == "pipeline" else frozenset()
    paths = sorted((ROOT / package).rglob("*.py"))
    assert sum(len(list(docstrings(path))) for path in paths) >= 10
    assert not (wrong := [line for path in paths for line in without_verb(path, exempt)]), "\n".join(wrong)


def test_only_sections_of_files_may_begin_with_a_noun():
    assert {"Campaign", "ClassifierTraining", "BpdaTraining", "Data", "Pgd", "BarrageDefense"} <= sections()
    assert not {"Versions", "AlsoWritten", "Choice", "Registry"} & sections()


def test_a_docstring_without_a_verb_is_found(tmp_path):
    path = tmp_path / "module.py"
    path.write_text('"""Return it."""\n\nclass A:\n    """The thing."""\n\n    def b():\n        """Whether it is."""\n')
    assert [line.split(": ")[0] for line in without_verb(path)] == [f"{path}:4", f"{path}:7"]
    assert [line.split(": ")[0] for line in without_verb(path, {"A"})] == [f"{path}:7"]


def test_the_texts_have_no_phrase_to_guess():
    paths = list(sources())
    assert {"README.md", "stores.md", "page.md.jinja", "demo.yaml", "node_checks.py", "page.js"} <= {p.name for p in paths}
    wrong = [line for path in paths for line in guessed(path.read_text(), path.relative_to(ROOT))]
    assert not wrong, "\n".join(wrong)


def test_the_helps_have_no_phrase_to_guess():
    wrong = []
    for name, command in cli().items():
        texts = [command.help or "", *(parameter.help or "" for parameter in command.params)]
        wrong += [line for text in texts for line in guessed(text, f"barrage {name} --help")]
    assert len(cli()) > 15 and not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "line", "instead"),
    [
        ("one\nall unless told", 2, "default: ..."),
        ("# what it is Told\n", 1, "the thing itself"),
        ("the user takes a\n    # look", 1, "an interim check"),
        ('x = "it is so "\n    f"many"', 1, "the number"),
        ("the driver looks\nat it", 1, "check, read"),
        ("Nobody knows", 1, "who it is"),
    ],
)
def test_a_phrase_to_guess_is_found(text, line, instead):
    (found,) = guessed(text, "page.md")
    assert found.startswith(f"page.md:{line}: ") and instead in found


@pytest.mark.parametrize("text", ["untold", "a lookup", "looks/cell/01.json", "the likelihood", "is throughput"])
def test_other_words_are_free(text):
    assert not list(guessed(text, "page.md"))
