"""The names of classes, from the folders of images to what people read."""

import pytest
from matplotlib.axes import Axes

from pipeline import analysis
from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.config.campaign import parse
from pipeline.data.pack import classes
from pipeline.errors import BadInput
from tests.support import tiny
from tests.support.campaigns import ran

NAMES = ["ant", "bee", "c$a$t"]


def packed(folder, barrage, *more, names=NAMES):
    for number, name in enumerate(names):
        (folder / "photos" / name).mkdir(parents=True)
        (folder / "photos" / name / f"image{number}.png").write_bytes(tiny.picture(number))
    code, out, err = barrage("pack", folder / "photos", folder / "shards", *more)
    assert code == 0
    return out.strip(), err


@pytest.fixture
def done(tmp_path, barrage):
    path, _ = packed(tmp_path, barrage)
    grid = [{"model": "net", "defense": "none", "attack": "pgd"}]
    return ran(tiny.campaign(path, cells=grid), tmp_path / "store")[0]


def test_names_go_from_folders_into_the_store_and_decide_no_number(done, tmp_path):
    assert opened(done.store).campaign.data.classes == NAMES == analysis.class_names(done.store)
    (tmp_path / "shards" / "classes.json").unlink()
    path = next(iter(done.shards.values())).url
    bare = prepare(parse(tiny.campaign(path, cells=[{"model": "net", "defense": "none", "attack": "pgd"}]), "c"), done.store)
    assert bare.campaign.data.classes is None and bare.campaign.data.named(2) == "2"
    assert {n: c.identity for n, c in bare.cells.items()} == {n: c.identity for n, c in done.cells.items()}


def test_show_report_and_tables_name_the_classes(done, tmp_path, barrage, monkeypatch):
    code, _, err = barrage("report", done.store, "-o", tmp_path / "report.html", "--allow-module", "tests")
    assert code == 0, err
    text = (tmp_path / "report.html").read_text()
    assert "class 1 (bee)" in text and "class 2 (c$a$t)" in text
    ticks, set_all = [], Axes.set

    def watched(axes, **given):
        ticks.append(given.get("yticklabels"))
        return set_all(axes, **given)

    monkeypatch.setattr(Axes, "set", watched)
    assert barrage("show", done.store, "image2", "-o", tmp_path / "x.png", "--allow-module", "tests")[0] == 0
    assert r"2 (c\$a\$t) (right)" in next(filter(None, ticks))
    lines = analysis.per_class(analysis.scores(done.store), names=analysis.class_names(done.store))
    assert dict(zip(lines["label"], lines["class"], strict=True)) == dict(enumerate(NAMES))


def test_shards_of_one_label_and_two_names_are_refused(tmp_path, barrage):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, _ = packed(tmp_path / "a", barrage, "--prefix", "a")
    two, _ = packed(tmp_path / "b", barrage, "--prefix", "b", names=["ant", "wasp"])
    content = tiny.campaign([one, two], cells=[{"model": "net", "defense": "none", "attack": "pgd"}])
    with pytest.raises(BadInput, match="class 1 is 'wasp' in the shards of .*, 'bee' in those of"):
        prepare(parse(content, "c"), str(tmp_path / "store"))


def test_a_file_of_classes_is_named_by_an_option(tmp_path, barrage):
    (tmp_path / "names.txt").write_text("bee\nant\nc$a$t\n")
    _, err = packed(tmp_path, barrage, "--classes", tmp_path / "names.txt")
    assert "class 0: bee, 1 image" in err and "class 1: ant, 1 image" in err
    assert classes.stored(str(tmp_path / "shards")).names == ["bee", "ant", "c$a$t"]
    code, _, err = barrage("pack", tmp_path / "photos", tmp_path / "other", "--classes", tmp_path / "gone.txt")
    assert code == 2 and "cannot be read: give a text file" in err
