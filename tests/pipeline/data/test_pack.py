import json
import os
from pathlib import Path

import pytest
import torchvision
from torchvision.datasets import ImageFolder

from pipeline.data import index, shards
from pipeline.data.pack import classes, labelled, pack
from pipeline.errors import BadInput
from tests.support import tiny


def make(root, *names):
    """Write an image for each name; return the root."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny.picture(number))
    return root


def labels(found):
    return {file.name: label for file, label in found.images}


def test_pack_is_reproducible_and_indexed(tmp_path, shards):
    images = sorted((tmp_path / "images").glob("*.png"))
    again = pack([(p, i % tiny.CLASSES) for i, p in enumerate(images)], tmp_path / "again", "photos", per_shard=5)
    assert [Path(p).read_bytes() for p in again] == [(shards / Path(p).name).read_bytes() for p in again]
    found = json.loads((shards / "index.json").read_text())
    assert {name: entry["images"] for name, entry in found.items()} == {"photos-000000.tar": 5, "photos-000001.tar": 3}


def test_pack_reads_labels_from_names_folders_and_tables(tmp_path):
    make(tmp_path, "b/x_7.png", "a/y_3.png")
    (tmp_path / "labels.csv").write_text("file,class\nx_7.png,5\ny_3.png,6\n")
    assert labels(labelled(tmp_path, "folder")) == {"y_3.png": 0, "x_7.png": 1}
    assert labels(labelled(tmp_path, "name")) == {"y_3.png": 3, "x_7.png": 7}
    assert labels(labelled(tmp_path, str(tmp_path / "labels.csv"))) == {"y_3.png": 6, "x_7.png": 5}
    with pytest.raises(BadInput, match="is not a folder"):
        labelled(tmp_path / "none", "name")
    with pytest.raises(BadInput, match="is not unique"):
        pack([(tmp_path / "a/y_3.png", 1), (tmp_path / "a/y_3.png", 1)], tmp_path / "out")


# Folders as torchvision's ImageFolder


def test_folders_are_the_classes_that_torchvision_gives_them(tmp_path):
    """Nested folders belong to the class above, a linked folder is one, WebP counts, and other files do not."""
    make(tmp_path / "elsewhere", "linked.png")
    root = make(
        tmp_path / "root", "zebra/a.PNG", "ant/in/deep/b.jpeg", "ant/c.jpg", "Bee/d.webp", "ant/note.txt", "Bee/movie.mp4"
    )
    (root / "cat").symlink_to(tmp_path / "elsewhere")
    found, theirs = labelled(root, "folder"), ImageFolder(root)
    assert {str(file): label for file, label in found.images} == dict(theirs.samples)
    assert found.classes.names == theirs.classes
    assert found.notes == [
        "passed over: files with the ending .mp4 (1): movie.mp4", "passed over: files with the ending .txt (1): note.txt"
    ]  # fmt: skip


def test_hidden_folders_and_pictures_beside_the_folders_are_no_class(tmp_path):
    root = make(
        tmp_path, "a/1.png", "b/2.png", ".ipynb_checkpoints/3.png", "stray.png", "b/.ipynb_checkpoints/4.png", "a/.5.png"
    )
    found = labelled(root, "folder")
    assert labels(found) == {"1.png": 0, "2.png": 1}
    assert found.notes == ["passed over: files beside the folders of the classes (1): stray.png"]


def test_a_class_without_images_is_an_error_that_says_what_is_there(tmp_path):
    root = make(tmp_path, "a/1.png", "b/2.gif")
    with pytest.raises(BadInput, match=r"class 'b' has no image \(passed over: files with the ending .gif \(1\): 2.gif\)"):
        labelled(root, "folder")
    (root / "b/2.gif").unlink()
    with pytest.raises(BadInput, match=r"class 'b' has no image \(it is empty\)"):
        labelled(root, "folder")
    with pytest.raises(BadInput, match="holds no folders"):
        labelled(make(tmp_path / "flat", "1.png"), "folder")


def test_numbers_are_sorted_as_numbers_if_all_are_or_if_asked_and_it_is_said(tmp_path):
    numbers = make(tmp_path / "numbers", *(f"{i}/x{i}.png" for i in range(12)))
    found = labelled(numbers, "folder")
    assert labels(found) == {f"x{i}.png": i for i in range(12)}
    assert found.notes == [
        "the folders are sorted as numbers: ['0', '1', '2'] and so on, not ['0', '1', '10'] as torchvision does; "
        "--sort text does that"
    ]
    assert labels(labelled(numbers, "folder", sort="text"))["x10.png"] == ImageFolder(numbers).class_to_idx["10"] == 2
    words = make(tmp_path / "words", *(f"class{i}/x{i}.png" for i in (1, 2, 10)))
    assert labels(labelled(words, "folder")) == {"x1.png": 0, "x10.png": 1, "x2.png": 2}
    assert "--sort number" in labelled(words, "folder").notes[0]
    assert labels(labelled(words, "folder", sort="number")) == {"x1.png": 0, "x2.png": 1, "x10.png": 2}


# Names of classes


def test_the_classes_of_imagenet_ship_in_the_order_of_torchvision():
    found = classes.of_file("imagenet")
    assert found.names == torchvision.models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    ids = [each.folder for each in found.every]
    assert ids == sorted(set(ids)) and len(ids) == 1000 and ids[0] == "n01440764" and ids[-1] == "n15075141"


def test_folders_of_wordnet_ids_get_the_classes_of_imagenet_where_asked(tmp_path):
    root = make(tmp_path, "n15075141/a.png", "n01440764/b.png", "n01443537/c.png")
    assert "--classes imagenet gives them those of ImageNet" in labelled(root, "folder").notes[0]
    found = labelled(root, "folder", classes=classes.of_file("imagenet"))
    assert labels(found) == {"a.png": 999, "b.png": 0, "c.png": 1} and found.classes.names[999] == "toilet tissue"


def test_a_file_of_classes_decides_the_labels(tmp_path):
    root = make(tmp_path / "photos", "cat/a.png", "dog/b.png")
    names = tmp_path / "classes.txt"
    names.write_text("﻿bird\r\ndog\r\ncat\r\n\r\n", "utf-8")
    assert labels(labelled(root, "folder", classes=classes.of_file(str(names)))) == {"a.png": 2, "b.png": 1}
    names.write_text("bird\nDog\ncat\n")
    with pytest.raises(BadInput, match="'dog' is none of the classes: did you mean 'Dog'?"):
        labelled(root, "folder", classes=classes.of_file(str(names)))
    names.write_text("n01440764 crane\nn01443537 crane\ncat\n")
    with pytest.raises(BadInput, match="several classes are called 'crane'"):
        classes.of_file(str(names)).label("crane", "here")
    for text, said in (
        ("cat\ncat\n", "'cat' twice"),
        ("\n", "no class"),
        ("cat\n \ndog\n", "line 2, is empty"),
        (b"\xff\xff", "cannot be read"),
    ):
        names.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(BadInput, match=said):
            classes.of_file(str(names))


def test_the_mapping_is_kept_beside_the_shards_and_may_not_change(tmp_path):
    root, out = make(tmp_path / "photos", "cat/a.png", "dog/b.png"), tmp_path / "out"
    found = labelled(root, "folder")
    pack(found.images, out, classes=found.classes)
    assert classes.stored(str(out)).names == ["cat", "dog"]
    more = labelled(make(root, "cow/c.png"), "folder")
    with pytest.raises(BadInput, match="class 1 is 'dog', now it is 'cow': use another folder"):
        pack(more.images, out, classes=more.classes)
    (out / "classes.json").write_text("[3]")
    with pytest.raises(BadInput, match="classes.json is damaged"):
        classes.stored(str(out))


def test_many_classes_are_shown_in_part():
    lines = list(classes.of_file("imagenet").described(dict.fromkeys(range(1000), 2)))
    assert lines[0] == "class 0: tench (n01440764), 2 images" and lines[10].startswith("... 980 more") and len(lines) == 21


# Tables


@pytest.fixture
def three(tmp_path):
    return make(tmp_path / "photos", "a.png", "b.png", "in/c.png")


@pytest.mark.parametrize("data", [
    b"a.png,1\nb.png,2\nc.png,3\n", "﻿file;label\r\na.png;1\r\nb.png;2\r\nin/c.png;3\r\n".encode(),
    "label\tpath\n1\ta.png\n2\tb.png\n3\tc\n".encode("utf-16"), b'id,file_name,class_id\n0,"a.png",1\n1,b.png, 2\n\n2,c.png,3',
    b"a.png,1\na.png,1\nb.png,2\nc.png,3\n",
])  # fmt: skip
def test_tables_are_read_as_spreadsheets_write_them(tmp_path, three, data):
    (tmp_path / "t.csv").write_bytes(data)
    assert labels(labelled(three, str(tmp_path / "t.csv"))) == {"a.png": 1, "b.png": 2, "c.png": 3}


@pytest.mark.parametrize(("data", "said"), [
    (b"a.png,1\nb.png,2\nc.png,3\na.png,2\n", "a.png has the class 1 in line 1 and 2 in line 4"),
    (b"a.png,1\nb.png,2\n", "has no line for c.png: add `in/c.png,CLASS`"),
    (b"a.png,1\nb\xe9.png,2\n", "line 2, is not UTF-8"),
    (b"a.png,1\nb.png,cat\n", "line 2: 'cat' is no class number"),
    (b"a.png,1\nb.png,1_0\n", "'1_0' is no class number"), (b"a.png,1\nb.png,-1\n", "'-1' is no class number"),
    (b"a.png,1\nb.png\n", "line 2: 'b.png' is no line of file, class"),
    (b'a.png,"1\n' + b"x" * 200_000, "field larger than field limit"), (b"", "has no line for a.png"),
])  # fmt: skip
def test_a_table_that_is_wrong_is_one_line(tmp_path, three, data, said):
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(BadInput, match=said):
        labelled(three, str(tmp_path / "t.csv"))


def test_a_table_may_name_classes_and_says_which_lines_name_no_image(tmp_path, three):
    (tmp_path / "t.csv").write_text("a.png,cat\nb.png,dog\nc.png,cat\nd.png,dog\n")
    (tmp_path / "names.txt").write_text("dog\ncat\n")
    found = labelled(three, str(tmp_path / "t.csv"), classes=classes.of_file(str(tmp_path / "names.txt")))
    assert labels(found) == {"a.png": 1, "b.png": 0, "c.png": 1} and found.classes.names == ["dog", "cat"]
    assert found.notes == [f"1 lines of {tmp_path / 't.csv'} name no image: d.png"]


def test_one_line_for_two_files_of_a_name_is_refused(tmp_path):
    root = make(tmp_path / "photos", "x/a.png", "y/a.png")
    (tmp_path / "t.csv").write_text("a.png,1\n")
    with pytest.raises(BadInput, match="2 files are called: write their paths"):
        labelled(root, str(tmp_path / "t.csv"))
    (tmp_path / "t.csv").write_text("x/a.png,1\ny/a.png,2\n")
    assert [label for _, label in labelled(root, str(tmp_path / "t.csv")).images] == [1, 2]


# Odd files


def test_odd_names_are_packed_or_named_in_one_line(tmp_path, barrage):
    root = make(tmp_path / "photos", f"a/{'x' * 150}.png", f"a/{'图' * 40}.png", "a/x.jpg/inside.png", "b/v1.5.png", "b/u.webp")
    (root / "b/gone.png").symlink_to("nowhere.png")
    (root / "b/loop").symlink_to("..")
    code, out, err = barrage("pack", root, tmp_path / "out")
    assert code == 0 and "passed over: broken links (1): gone.png" in err and "class 0: a, 3 images" in err
    shard = shards.inspect(out.strip())
    found = shards.read(shard, range(9))
    assert sorted(sample.key for sample in found) == sorted(["x" * 150, "图" * 40, "inside", "v1_5", "u"])
    assert {sample.status for sample in found} == {"ok"} and shard.images == 5
    bad = make(tmp_path / "bad", "a/x\x1b[31m.png")
    code, _, err = barrage("pack", bad, tmp_path / "out2")
    assert code == 2 and "control characters: rename it" in err and "\x1b[31m.png" not in err
    os.rename(bad / "a/x\x1b[31m.png", os.fsencode(bad) + b"/a/\xff.png")
    code, _, err = barrage("pack", bad, tmp_path / "out2")
    assert code == 2 and "not UTF-8: rename it" in err and len(err.strip().splitlines()) == 2


def test_files_of_one_name_in_several_folders_keep_their_folders_in_the_key(tmp_path):
    found = labelled(make(tmp_path / "photos", "cat/1.png", "dog/1.png", "dog/2.png"), "folder")
    (path,) = pack(found.images, tmp_path / "out")
    assert [sample.key for sample in shards.read(shards.inspect(path), range(3))] == ["cat/1", "dog/1", "dog/2"]


def test_an_image_that_no_shard_may_hold_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    from pipeline.data.pack import writing

    monkeypatch.setattr(writing, "MAX_BYTES", 10)
    found = labelled(make(tmp_path / "photos", "a/1.png"), "folder")
    with pytest.raises(BadInput, match="more than 10"):
        pack(found.images, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# The index


GOOD = {"sha256": "0" * 64, "bytes": 10_240, "images": 3, "labels": [0, 5]}


@pytest.mark.parametrize("wrong", [
    [], None, 3, {"x.tar": []}, {"x.tar": None}, {"x.tar": GOOD | {"labels": [0]}}, {"x.tar": GOOD | {"labels": None}},
    {"x.tar": GOOD | {"labels": [5, 0]}}, {"x.tar": GOOD | {"labels": [0, 10**12]}}, {"x.tar": GOOD | {"labels": [-1, 5]}},
    {"x.tar": GOOD | {"images": 10**9}}, {"x.tar": GOOD | {"images": "3"}}, {"x.tar": GOOD | {"images": 3.5}},
    {"x.tar": GOOD | {"images": True}}, {"x.tar": GOOD | {"sha256": "abc"}}, {"x.tar": {"images": 3}},
    {"x.tar": GOOD | {"bytes": -1}},
])  # fmt: skip
def test_an_index_that_cannot_be_is_one_line(tmp_path, wrong):
    (tmp_path / "index.json").write_text(json.dumps(wrong))
    with pytest.raises(BadInput, match=r"index.json.*; restore it, or remove it to have the shards read"):
        index.read(str(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")])
def test_an_index_that_is_no_json_is_one_line(tmp_path, text):
    (tmp_path / "index.json").write_text(text)
    if text:
        with pytest.raises(BadInput, match="is damaged: restore it"):
            index.read(str(tmp_path))
    else:
        assert index.read(str(tmp_path)) == {}


def test_an_index_that_is_wrong_about_its_shard_is_found_when_it_is_read(tmp_path):
    (path,) = pack(labelled(make(tmp_path / "photos", "a/1.png", "a/2.png"), "folder").images, tmp_path / "out")
    content = json.loads((tmp_path / "out/index.json").read_text())
    content["images-000000.tar"]["images"] = 3
    (tmp_path / "out/index.json").write_text(json.dumps(content))
    shard = shards.inspect(path)
    with pytest.raises(shards.ShardUnusable, match="holds 2 samples, expected 3: its index.json was wrong"):
        shards.read(shard, range(3))


@pytest.mark.parametrize(("more", "said"), [
    ("a,2\n", "x/a.png has the class 1 as x/a.png and 2 as a: keep one"),
    ("./x/a.png,2\n", "./x/a.png has the class 1 in line 1 and 2 in line 2"),
    ("x/../x/a.png,2\n", "has the class 1 in line 1 and 2 in line 2"),
    ("x\\a.png,2\n", r"has the class 1 in line 1 and 2 in line 2"),
])  # fmt: skip
def test_two_lines_for_one_file_are_noticed_however_they_name_it(tmp_path, more, said):
    root = make(tmp_path / "photos", "x/a.png")
    table = tmp_path / "t.csv"
    table.write_text("x/a.png,1\n" + more)
    with pytest.raises(BadInput, match=said):
        labelled(root, str(table))
    table.write_text("x/a.png,1\n" + more.replace(",2", ",1"))
    found = labelled(root, str(table))
    assert labels(found) == {"a.png": 1} and found.notes == []


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_wide_letters_without_their_mark_are_no_utf_8(tmp_path, coding):
    (tmp_path / "t.csv").write_bytes("a.png,1\n".encode(coding))
    with pytest.raises(BadInput, match="t.csv, line 1, is not UTF-8: save the file"):
        labelled(make(tmp_path / "photos", "a.png"), str(tmp_path / "t.csv"))


@pytest.mark.parametrize("name", ["²", "١", "x²y10", "③"])
def test_only_plain_digits_are_numbers_in_names_of_folders(tmp_path, name):
    root = make(tmp_path / "photos", f"{name}/a.png", "9/b.png", "10/c.png")
    assert labels(labelled(root, "folder", sort="number")) == {"b.png": 0, "c.png": 1, "a.png": 2}
