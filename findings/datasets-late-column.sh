#!/usr/bin/env bash
# datasets 5.2.0 drops a column of a WebDataset archive that begins after the fifth sample.
#
# Seen: nine images of which the last has a text beside it load without a column for the text, and without a word. Where the text stands
# with the third of four samples instead, loading raises an error that names the format.
# Expected: the column with nothing in the first eight rows, or the same error. Its page on WebDataset says that each file type of a
# sample becomes a column. The columns are those of the first five samples; captions or labels that begin later are lost.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
venv/bin/python - <<'PYTHON'
import io
import os
import tarfile

os.environ["HF_HOME"] = os.path.abspath("cache")
os.environ["HF_HUB_OFFLINE"] = "1"
import datasets
from PIL import Image

datasets.disable_progress_bars()
picture = io.BytesIO()
Image.new("RGB", (4, 4)).save(picture, "PNG")


def columns(name: str, count: int, with_text: int) -> list[str] | str:
    with tarfile.open(name, "w") as archive:
        for i in range(count):
            for ending, content in (("png", picture.getvalue()), ("txt", b"a cat"))[: 1 + (i == with_text)]:
                info = tarfile.TarInfo(f"{i:03}.{ending}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    try:
        rows = datasets.load_dataset("webdataset", data_files=name, split="train")
    except ValueError as error:
        return type(error).__name__
    assert len(rows) == count
    return sorted(column for column in rows.column_names if not column.startswith("__"))


late, early = columns("late.tar", 9, 8), columns("early.tar", 4, 2)
print("text with the ninth sample:", late, "- with the third:", early)
assert late == ["png"] and early == "ValueError"
PYTHON
