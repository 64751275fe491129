"""The classes of images that are not packed: given by a file or a list, or kept in Parquet by Hugging Face's `datasets`."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import analysis
from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.verification.verify import verify
from pipeline.config.campaign import Data, parse
from pipeline.data import shards
from pipeline.data.pack import labelled, pack
from pipeline.data.pack.classes import given, of_file
from pipeline.errors import BadInput
from pipeline.training import record
from tests.support import tiny
from tests.support.campaigns import ran, rows

FOLDERS = ("ant", "bee", "cat")
GRID = [{"model": "net", "defense": "none", "attack": "pgd"}]


@pytest.fixture
def photos(tmp_path):
    for i in range(6):
        path = tmp_path / "photos" / FOLDERS[i % 3] / f"{i:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny.picture(i))
    (tmp_path / "names.txt").write_text("cat\ndodo\nant\nbee\n")
    return tmp_path / "photos"


WANTED = {f"{i:06d}": ("cat", "dodo", "ant", "bee").index(FOLDERS[i % 3]) for i in range(6)}
"""The label of each image by the file of classes."""


def table(folder, kind):
    """A table of paths and names of classes."""
    names = [(f"photos/{FOLDERS[i % 3]}/{i:06d}.png", FOLDERS[i % 3]) for i in range(6)]
    path = folder / f"table.{kind}"
    if kind == "csv":
        path.write_text("path,label\n" + "".join(f"{file},{word}\n" for file, word in names))
    else:
        pq.write_table(pa.table({"path": [file for file, _ in names], "label": [word for _, word in names]}), path)
    return path


def of_words(path, *words):
    """A Parquet file of images whose labels are words."""
    held = [{"bytes": tiny.picture(i), "path": f"{i:06d}.png"} for i in range(len(words))]
    pq.write_table(pa.table({"image": held, "label": list(words)}), path)
    return path


def places(folder, photos):
    return {
        "folder": {"folder": str(photos)}, "csv": {"table": str(table(folder, "csv"))},
        "table": {"table": str(table(folder, "parquet"))},
        "words": {"shards": str(of_words(folder / "w.parquet", *(FOLDERS[i % 3] for i in range(6))))},
    }  # fmt: skip


def labels(data):
    found = [shards.inspect(url, classes=given(data.classes)) for url in shards.paths(data)]
    return {sample.key: sample.label for shard in found for sample in shards.read(shard, range(shard.images))}


@pytest.mark.parametrize("kind", ["folder", "csv", "table", "words"])
@pytest.mark.parametrize("form", ["file", "list"])
def test_given_classes_decide_the_labels(tmp_path, photos, kind, form):
    names = str(tmp_path / "names.txt")
    data = Data(**places(tmp_path, photos)[kind], classes=names if form == "file" else of_file(names).lines)
    assert labels(data) == WANTED
    assert shards.classes(data, shards.paths(data)) == ["cat", "dodo", "ant", "bee"]


def test_a_campaign_labels_as_pack_does_and_keeps_to_its_classes(tmp_path, photos):
    pack(labelled(photos, "folder", classes=of_file(str(tmp_path / "names.txt"))).images, tmp_path / "shards")
    data = {"resize": None, "crop": 32}
    packed = tiny.campaign("", data=data | {"shards": str(tmp_path / "shards/*.tar")}, cells=GRID)
    ran(packed, tmp_path / "packed")
    here = data | {"folder": str(photos), "classes": str(tmp_path / "names.txt")}
    job, outcome = ran(tiny.campaign("", data=here, cells=GRID), tmp_path / "store")
    assert outcome.exit_code == 0 and list(verify(opened(job.store))) == []
    assert rows(job.store) == rows(tmp_path / "packed")
    assert {key: row["label"] for (_, key), row in rows(job.store).items()} == WANTED
    assert analysis.class_names(job.store) == ["cat", "dodo", "ant", "bee"]
    (tmp_path / "names.txt").write_text("cat\ndodo\nant\nbee\nemu\n")  # a further class changes no label
    prepare(parse(tiny.campaign("", data=here, cells=GRID), "c"), job.store)
    (tmp_path / "names.txt").write_text("ant\ndodo\ncat\nbee\n")
    with pytest.raises(BadInput, match="was made with 'cat' as class 0, now it is 'ant'"):
        prepare(parse(tiny.campaign("", data=here, cells=GRID), "c"), job.store)


def test_a_store_of_a_folder_keeps_the_classes_that_its_folders_had(tmp_path, photos):
    here = {"resize": None, "crop": 32, "folder": str(photos)}
    job, _ = ran(tiny.campaign("", data=here, cells=GRID), tmp_path / "store")
    assert opened(job.store).campaign.data.classes == list(FOLDERS)
    (photos / "ant").rename(photos / "wasp")
    with pytest.raises(BadInput, match="was made with 'ant' as class 0, now it is 'bee'"):
        prepare(parse(tiny.campaign("", data=here, cells=GRID), "c"), job.store)


def test_a_training_labels_by_given_classes(tmp_path, photos):
    data = Data(folder=str(photos), classes=str(tmp_path / "names.txt"))
    (shard,) = record.inspected(data, str(tmp_path / "store"), lambda line: None)
    assert {sample.key: sample.label for sample in shards.read(shard, range(6))} == WANTED


def test_wordnet_ids_are_looked_up_and_names_are_shown(tmp_path):
    for name in ("n01443537", "n15075141"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / f"{name}.png").write_bytes(tiny.picture(0))
    data = Data(folder=str(tmp_path / "photos"), classes="imagenet")
    assert labels(data) == {"n01443537": 1, "n15075141": 999}
    lines = shards.classes(data, shards.paths(data))
    resolved = data.model_copy(update={"classes": lines})
    assert lines[1] == "n01443537 goldfish" and resolved.named(1) == "1 (goldfish)" and resolved.names[999] == "toilet tissue"
    assert labels(resolved) == labels(data)  # as a worker sees it


@pytest.mark.parametrize("kind", ["csv", "words"])
def test_where_classes_are_called_by_numbers_a_number_is_a_name(tmp_path, kind):
    (tmp_path / "0.png").write_bytes(tiny.picture(0))
    (tmp_path / "t.csv").write_text("0.png,10\n")
    place = {"table": str(tmp_path / "t.csv")} if kind == "csv" else {"shards": str(of_words(tmp_path / "w.parquet", "10"))}
    assert list(labels(Data(**place)).values()) == [10]
    assert list(labels(Data(**place, classes=["2", "10"])).values()) == [1]
    with pytest.raises(BadInput, match="'10' is none of the classes"):
        labels(Data(**place, classes=["2", "11", "ten"]))


def test_words_without_classes_or_none_of_them_are_one_line(tmp_path, photos):
    words = {"shards": str(of_words(tmp_path / "w.parquet", "ant", "bea"))}
    with pytest.raises(BadInput, match=r"w.parquet, 000000: 'ant' is no class number.*data.classes"):
        labels(Data(**words))
    with pytest.raises(BadInput, match="w.parquet, 000001: 'bea' is none of the classes: did you mean 'bee'"):
        labels(Data(**words, classes=list(FOLDERS)))
    with pytest.raises(BadInput, match="classes gone.txt cannot be read"):
        labels(Data(folder=str(photos), classes="gone.txt"))
    (tmp_path / "t.csv").write_text("photos/ant/000000.png,7\n")
    with pytest.raises(BadInput, match="has the class 7, the classes end at 2"):
        labels(Data(table=str(tmp_path / "t.csv"), classes=list(FOLDERS)))


# Class names of Hugging Face's `datasets`


def of_datasets(path, names, label="label"):
    """A Parquet file with the metadata that `datasets` writes for a column of kind ClassLabel."""
    held = [{"bytes": tiny.picture(0), "path": None}, {"bytes": tiny.picture(1), "path": None}]
    features = {"image": {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.table({"image": held, label: pa.array([0, 2])}).replace_schema_metadata(about), path)
    return str(path)


@pytest.mark.parametrize("label", ["label", "fine_label"])
def test_names_of_datasets_are_kept_and_shown(tmp_path, label):
    data = Data(shards=[of_datasets(tmp_path / "train.parquet", FOLDERS, label)])
    assert shards.classes(data, shards.paths(data)) == list(FOLDERS) and list(labels(data).values()) == [0, 2]
    content = tiny.campaign(data.shards, cells=GRID)
    job, _ = ran(content, tmp_path / "store")
    assert analysis.class_names(job.store) == list(FOLDERS) and opened(job.store).campaign.data.named(2) == "2 (cat)"
    given_ones = tiny.campaign(
        "", data={"shards": data.shards, "resize": None, "crop": 32, "classes": ["x", "y", "z"]}, cells=GRID
    )
    assert prepare(parse(given_ones, "c"), job.store).campaign.data.names == ["x", "y", "z"]


def test_files_whose_names_disagree_are_refused(tmp_path):
    data = Data(
        shards=[of_datasets(tmp_path / "a.parquet", FOLDERS), of_datasets(tmp_path / "b.parquet", ("ant", "cat", "bee"))]
    )
    with pytest.raises(BadInput, match=r"class 1 is 'cat' in the shards of .*b.parquet, 'bee' in those of .*a.parquet"):
        shards.classes(data, shards.paths(data))


@pytest.mark.parametrize(
    "about", [b"", b"[]", b"{", b'{"info": null}', b'{"info": {"features": {"label": {"dtype": "int64"}}}}']
)
def test_other_metadata_names_no_class(tmp_path, about):
    held = [{"bytes": tiny.picture(0), "path": None}]
    pq.write_table(
        pa.table({"image": held, "label": [0]}).replace_schema_metadata({"huggingface": about}), tmp_path / "x.parquet"
    )
    data = Data(shards=[str(tmp_path / "x.parquet")])
    assert shards.classes(data, shards.paths(data)) is None and list(labels(data).values()) == [0]
