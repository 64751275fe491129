#!/usr/bin/env bash
# obstore 0.12.1 and fsspec 2026.9.0: files are written over though `mode="create"` is to protect them.
#
# Seen: of a file that exists, `pipe_file(name, data, mode="create")` of obstore's face for fsspec returns, and the file holds the new data;
# `put_file(path, name, mode="create")` does the same, in obstore and in fsspec's own local file system. fsspec's local `pipe_file` and
# its memory file system raise FileExistsError.
# Expected: FileExistsError. fsspec's documentation has a section "Exclusive write": these two methods take mode="create", and "if using
# exclusive mode on a file that does already exist, a FileExistsError will be raised". Both methods of obstore name the argument and do not
# read it, while its own `put(..., mode="create")` refuses. Who writes rows once, by whichever file system a URL names, loses the first.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check obstore==0.12.1 fsspec==2026.9.0
venv/bin/python - <<'PYTHON'
import tempfile
from pathlib import Path

import fsspec
from obstore.fsspec import FsspecStore

Path("second").write_text("second")


def outcome(files, name: str, method: str) -> str:
    files.pipe_file(name, b"first")
    try:
        if method == "pipe_file":
            files.pipe_file(name, b"second", mode="create")
        else:
            files.put_file("second", name, mode="create")
    except FileExistsError:
        return "FileExistsError"
    return files.cat_file(name).decode()


folder = tempfile.mkdtemp(dir=".")
systems = {
    "obstore": (FsspecStore("file"), f"{Path(folder).resolve()}/a"),
    "fsspec local": (fsspec.filesystem("file"), f"{folder}/b"),
    "fsspec memory": (fsspec.filesystem("memory"), "/c"),
}
seen = {name: [outcome(*place, method) for method in ("pipe_file", "put_file")] for name, place in systems.items()}
print("pipe_file, put_file:", seen)
assert seen["obstore"] == ["second", "second"]
assert seen["fsspec local"] == ["FileExistsError", "second"]
assert seen["fsspec memory"] == ["FileExistsError", "FileExistsError"]
PYTHON
