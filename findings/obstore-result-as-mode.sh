#!/usr/bin/env bash
# obstore 0.12.1: the answer of a put can't be used for the conditional put that it is for.
#
# Seen: `put` answers {'e_tag': '0', 'version': None}; giving that answer as `mode` of the next put raises a TypeError that None is no
# string. With the key 'version' taken out it works.
# Expected: that it works as it is. The documentation says to update an object only if it is unchanged by passing its e_tag and version,
# and types both as "str or None" in what put and head return and in what `mode` takes. Stores without versions always answer None.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check obstore==0.12.1
venv/bin/python - <<'PYTHON'
import obstore
from obstore.store import MemoryStore

store = MemoryStore()
first = obstore.put(store, "row", b"1")
print("answer:", first)
try:
    obstore.put(store, "row", b"2", mode=first)
    refused = ""
except TypeError as error:
    refused = str(error)
print("as mode:", refused)
assert first["version"] is None and "None" in refused
obstore.put(store, "row", b"2", mode={"e_tag": first["e_tag"]})
assert bytes(obstore.get(store, "row").bytes()) == b"2"
PYTHON
