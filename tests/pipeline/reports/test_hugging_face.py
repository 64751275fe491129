"""A store as a dataset of the Hugging Face Hub: what its own libraries read in it is what the store holds."""

import os
import re

import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard

from pipeline.reports.hugging_face import CITATION
from pipeline.store.rows import results
from tests.support import tiny
from tests.support.source.pages import ROOT

CELLS = ["net-bart2-pgd", "net-none-pgd"]


@pytest.fixture
def folder(finished, tmp_path, barrage):
    """A dataset of both cells of a finished store."""
    code, out, _ = barrage("export", finished(), tmp_path / "set", "--hugging-face", "--license", "cc-by-4.0")
    assert code == 0 and "16 rows" in out and f"hf upload USER/NAME {tmp_path / 'set'} --repo-type dataset" in out
    return tmp_path / "set"


def test_the_card_says_what_the_hub_asks(folder):
    card = DatasetCard.load(folder / "README.md")
    assert (card.data.license, card.data.pretty_name) == ("cc-by-4.0", "tiny")
    assert card.data.size_categories == ["n<1K"] and card.data.task_categories == ["image-classification"]
    configs = {config["config_name"]: config for config in card.data.to_dict()["configs"]}
    assert list(configs) == ["all", *CELLS] and [name for name, config in configs.items() if config["default"]] == ["all"]
    for config in configs.values():
        assert all((folder / path).is_file() for files in config["data_files"] for path in files["path"])


def test_every_row_and_column_is_there_once(folder, finished):
    rows = [row for cell in CELLS for row in pq.read_table(folder / "data" / f"{cell}.parquet").to_pylist()]
    expected = {(row["cell"], row["image_key"]): row for row in results(str(finished())).to_pylist()}
    assert {(row["cell"], row["image_key"]): row for row in rows} == expected and len(rows) == 16


def test_the_library_of_the_hub_loads_it_without_a_network(folder, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    assert datasets.get_dataset_config_names(str(folder)) == ["all", *CELLS]
    every = datasets.load_dataset(str(folder), split="test", cache_dir=str(tmp_path / "cache"))
    one = datasets.load_dataset(str(folder), CELLS[1], split="test", cache_dir=str(tmp_path / "cache"))
    assert len(every) == 16 and set(one["cell"]) == {CELLS[1]} and len(one) == 8
    expected = {(row["cell"], row["image_key"]): row for row in results(str(finished())).to_pylist()}
    assert {(row["cell"], row["image_key"]): row for row in every} == expected


def test_the_card_has_the_table_the_columns_and_no_place_of_this_machine(folder, finished, barrage):
    text = (folder / "README.md").read_text()
    assert barrage("table", finished(), "--format", "md")[1].strip() in text
    described = dict(re.findall(r"^\| `(\w+)` \| .*? \| (.*) \|$", text, re.M))
    assert set(results(str(finished())).column_names) <= described.keys() and "judged" in described["evaluation_draws"]
    campaign = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.S)[1])
    assert (
        campaign["attacks"]["pgd"]["steps"] == 6 and campaign["models"]["net"]["architecture"] == "tests.support.tiny:network"
    )
    whole = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert str(finished()).encode() not in whole and b"photos-{" not in whole


def test_the_citation_is_that_of_the_software():
    (article,) = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    assert article["title"] in CITATION and f"{article['start']}--{article['end']}" in CITATION
    assert all(f"{author['family-names']}, {author['given-names']}" in CITATION for author in article["authors"])
    assert f"year = {{{article['year']}}}" in CITATION


def test_without_a_licence_the_card_names_none_and_one_cell_is_a_choice(finished, tmp_path, barrage):
    place = tmp_path / "set"
    place.mkdir()  # an empty folder is as good as none
    assert barrage("export", finished(), place, "--hugging-face", "--cell", CELLS[0])[0] == 0
    assert "license" not in DatasetCard.load(place / "README.md").data.to_dict()
    assert sorted(os.listdir(place / "data")) == [f"{CELLS[0]}.parquet"] and CELLS[1] not in (place / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", "--hugging-face", "--license", "CC BY"], "--license 'CC BY': expected a licence as the Hub writes it"),
        (["full", "--hugging-face"], "full is there already: give a new folder"),
        (["none/set", "--hugging-face"], "make it first"),
        (["set", "--hugging-face", "--cell", "nothing"], "holds no rows of the cell 'nothing'"),
        (["rows.parquet", "--license", "mit"], "--license mit is for a dataset's card: add --hugging-face"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(finished, tmp_path, barrage, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "README.md").write_text("mine")
    code, _, err = barrage("export", finished(), *words)
    assert code == 2 and said in err and len(err.splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == ["full"] and os.listdir(tmp_path / "full") == ["README.md"]


def test_classes_are_kept_beside_the_rows(pattern, tmp_path, barrage, copied):
    store = copied(
        "named", data={"shards": pattern, "resize": None, "crop": 32, "classes": [f"thing {i}" for i in range(tiny.CLASSES)]}
    )
    assert barrage("export", store, tmp_path / "set", "--hugging-face")[0] == 0
    assert (tmp_path / "set" / "classes.txt").read_text().splitlines()[3] == "thing 3"
