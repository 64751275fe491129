"""Keep how the images of each cell are cut into units: units/<cell>.json, decided before a cell's first unit, never changed.

The cut decides which files of rows belong to a campaign. So a file that is damaged is refused, never replaced by another cut.
"""

from collections.abc import Iterable, Mapping

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import BadInput
from pipeline.planning.units import Cut
from pipeline.storage import urls
from pipeline.store import formats
from pipeline.store.layout import Store

_CUT = TypeAdapter(Cut)


def write(store: Store, cuts: Mapping[str, Cut]) -> None:
    """Write the cuts of cells that have none in the store. Cuts that are there stay: another driver was first."""
    for cell, cut in cuts.items():
        store.create(file_of(cell), formats.to_json(_CUT.dump_python(cut, mode="json")))


def read(store: Store, cells: Iterable[str]) -> dict[str, Cut]:
    """Return the cuts of those cells that have one in the store. Raises BadInput for a file that is damaged."""
    files = ((cell, store.read(file_of(cell))) for cell in cells)
    return {cell: _parsed(urls.join(store.url, file_of(cell)), data) for cell, data in files if data is not None}


def file_of(cell: str) -> str:
    """Return the name of the file with a cell's cut."""
    return f"units/{cell}.json"


def _parsed(path: str, data: bytes) -> Cut:
    content = formats.of_json(path, data)
    try:
        cut = _CUT.validate_python(content)
    except ValidationError as error:
        raise BadInput(f"{path} says no sizes of units ({error.errors()[0]['msg']}): restore it") from None
    runs = (run for runs in cut.smaller.values() for run in runs)
    if min(cut.images, cut.rounds, *(number for run in runs for number in run)) < 1:
        raise BadInput(f"{path} says units without images: it is damaged; restore it")
    return cut
