"""The files of the page: whole, from here alone, with their licences, and no way from a text to markup."""

import json
import re
from pathlib import Path

import pipeline.view.page as room
from docs.screenshots import SHOTS
from pipeline.reports import style
from pipeline.view.page import files

HERE = Path(room.__file__).parent
ROOT = Path(__file__).parents[3]
OWN = sorted((HERE / "scripts").rglob("*.js"))


def test_the_page_names_its_files_and_no_others():
    found = files()
    named = re.findall(r'(?:src|href)="([^"#]+)"', found["index.html"].decode())
    local = [name for name in named if not name.startswith("data:")]
    loaded = {name for path in OWN for name in re.findall(r'view\.load\("([^"]+)"\)', path.read_text())}
    assert len(local) == len(set(local)) and set(local) | loaded | {"index.html", "vendor/LICENSES.txt"} == set(found)
    assert not [name for name in named if "//" in name]


def test_an_export_has_the_same_files_and_reads_no_server():
    live, static = files(), files(live=False)
    assert live.keys() == static.keys() and {name for name in live if live[name] != static[name]} == {"index.html"}


def test_the_looks_are_those_of_the_report():
    found = files()
    assert found["looks.css"].decode() == style.css() and "--bg" in style.css() and "--c0" in style.css()
    assert json.loads(found["looks.js"].decode().removeprefix("view.looks = ").rstrip(";\n"))["axes"] == style.AXES


def test_no_script_makes_markup_or_code_of_a_text():
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|\beval\(|new Function|srcdoc|https?://(?!www\.w3\.org/)"
    )
    assert len(OWN) > 15
    wrong = [f"{path.name}: {match[0]}" for path in OWN for match in forbidden.finditer(path.read_text())]
    assert not wrong, wrong


def test_the_pictures_of_the_docs_are_those_that_the_command_takes():
    named = set(re.findall(r"img/(view-\w+)\.png", (ROOT / "docs" / "view.md").read_text()))
    assert named == set(SHOTS) == {path.stem for path in (ROOT / "docs" / "img").glob("view-*.png")}


def test_each_library_is_pinned_and_has_its_licence():
    pinned = json.loads((HERE / "vendor" / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pinned.values())
    licences = dict(re.findall(r"^=== (\S+) (\S+): ", (HERE / "vendor" / "LICENSES.txt").read_text(), re.M))
    assert licences == {name: version for name, version in pinned.items() if name != "axe-core"}
    assert re.search(rf"axe v{re.escape(pinned['axe-core'])}", (ROOT / "tests" / "support" / "page" / "axe.js").read_text())
