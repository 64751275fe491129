"""Describe a campaign on its store: what is planned, what is done, what is left."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

from pipeline.campaigns import definition_versions, record, stop_rule
from pipeline.campaigns.compare import refuse_changes
from pipeline.campaigns.parking import parked
from pipeline.campaigns.stop_rule import InterimCheck
from pipeline.config.campaign import Campaign, Cell, Workers
from pipeline.data import order
from pipeline.data.shards import Shard
from pipeline.errors import BadInput
from pipeline.planning import unit_sizes
from pipeline.planning.units import Cut, Unit, planned_images, units
from pipeline.scoring.summaries import Scope
from pipeline.storage import urls
from pipeline.store import cuts as stored_cuts
from pipeline.store.layout import Store
from pipeline.store.planned_cells import FILE, Planned


@dataclass(frozen=True)
class Job:
    """Hold what workers need to know of a campaign; it is sent to each of them once."""

    campaign: Campaign
    """The campaign with all hashes filled in."""
    shards: dict[str, Shard]
    store: str
    cuts: dict[str, Cut] = field(default_factory=dict)
    """How the cells that are in the store are cut into units; the others get theirs by `with_cuts`."""
    modules: frozenset[str] = frozenset()
    """Modules whose code workers may import."""
    folders: tuple[str, ...] = ()
    """Where workers search for these modules too."""

    counters: ClassVar[Mapping[str, str]] = {
        "draw_gradients": "forward and input-backward passes of one draw of one image",
        "worker_seconds": "seconds that workers spent on units",
        "units_done": "units whose rows were committed",
        "images_failed": "images that are rows with a reason",
    }

    @property
    def name(self) -> str:
        """Return the name of the campaign."""
        return self.campaign.name

    @property
    def workers(self) -> Workers:
        """Return what each worker gets."""
        return self.campaign.workers

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Return the cells by name, in the order of the campaign file."""
        return {cell.name: cell for cell in self.campaign.grid()}

    @cached_property
    def images(self) -> dict[str, int]:
        """Return how many images of each shard are attacked."""
        return planned_images(self.shards.values(), self.campaign.data.limit)

    @property
    def uncut(self) -> list[Cell]:
        """Return the cells whose units are not decided yet."""
        return [cell for name, cell in self.cells.items() if name not in self.cuts]

    def with_cuts(self, rates: Mapping[str, float], workers: int = 1) -> "Job":
        """Return the job with all cells cut into units for that many workers.

        rates   in draw-gradients a second of a worker, as far as measured
        """
        return replace(self, cuts=self.cuts | unit_sizes.cuts(self.campaign, self.uncut, self.images, rates, workers))

    def units(self) -> Iterator[Unit]:
        """Yield every unit of the campaign, done or not, in the order of the work. Raises BadInput if a cell is not cut yet."""
        self._refuse_uncut()
        return units(self.cells.values(), self.images, self.cuts)

    def _refuse_uncut(self) -> None:
        for cell in self.uncut:
            raise BadInput(f"store {self.store} has no units of cell {cell.name} yet: run the campaign again, it goes on there")

    def places(self, unit: Unit) -> list[int]:
        """Return the positions of a unit's images in their shard, ascending."""
        return order.places(self.campaign.seed, unit.shard, self.images[unit.shard], unit.start, unit.stop)

    def expected(self) -> Iterator[Unit]:
        """Yield the units that the store holds once all is done: all but those that a stop rule made unnecessary."""
        ends = {cell: check.round for cell in self.cells if (check := self.ended_by(cell))}
        return (unit for unit in self.units() if unit.cell not in ends or self.round_of(unit) <= ends[unit.cell])

    def todo(self) -> list[Unit]:
        """Return the units that are neither done, nor unnecessary, nor given up: the plan minus the files that exist."""
        store = Store(self.store)
        closed = store.done() | parked(store)
        return [unit for unit in self.expected() if unit.name not in closed]

    @property
    def over(self) -> bool:
        """Return whether no unit is left to do. An interim check may still be missing."""
        return not self.uncut and not self.todo()

    def parked(self) -> list[str]:
        """Return the names of the units that were given up and not done since."""
        store = Store(self.store)
        names = parked(store)
        names -= store.done() if names else set()
        return [unit.name for unit in self.expected() if unit.name in names] if names else []

    def round_of(self, unit: Unit) -> int:
        """Return the round of a unit, from 0."""
        return self.cuts[unit.cell].round_of(unit, self.images[unit.shard])

    def rounds_to_check(self, cell: str) -> list[int]:
        """Return the rounds of a cell that an interim check follows; none without a stop rule or a cut."""
        stop, cut = self.campaign.stop, self.cuts.get(cell)
        return stop_rule.rounds_to_check(stop, cut, self.images) if stop and cut else []

    def interim_checks(self, cell: str) -> list[InterimCheck]:
        """Return the interim checks of a cell that are in the store."""
        return stop_rule.read(Store(self.store), cell, self.rounds_to_check(cell))

    def ended_by(self, cell: str) -> InterimCheck | None:
        """Return the interim check that ended a cell, or None if none did."""
        stop = self.campaign.stop
        return next((check for check in self.interim_checks(cell) if check.ends(stop)), None) if stop else None

    def compute_check(self, cell: str, number: int, without: Collection[str] = ()) -> InterimCheck:
        """Return the interim check of a cell after round `number`, from its rows; `without` names units to leave out."""
        assert self.campaign.stop, "only a campaign with a stop rule has interim checks"
        names = [unit.name for unit in self.units() if unit.cell == cell and self.round_of(unit) <= number]
        rule = self.campaign.stop.rule
        return stop_rule.compute(self.store, cell, number, self.cuts[cell], rule, set(names).difference(without))

    def scopes(self) -> dict[str, Scope]:
        """Return how many images each cell was to have, and whether a stop rule ended it, for the table."""
        return {cell: Scope(sum(self.images.values()), self.ended_by(cell) is not None) for cell in self.cells}

    def planned(self) -> dict[str, Planned]:
        """Return the units, images and costs of each cell."""
        self._refuse_uncut()
        found = {}
        for name, cell in self.cells.items():
            spans = self.cuts[name].spans(self.images)
            spans = spans.until(check.round) if (check := self.ended_by(name)) else spans
            found[name] = Planned(len(spans.start), spans.images, cell.cost.gradients, cell.draws_judged, cell.defense.cost)
        return found

    def write_down(self) -> "Job":
        """Write the campaign into the store, unless it is there with all cells and shards, and the cuts of its cells.

        Returns the job with the cuts that the store holds: if two drivers start at once, those of the first one count. Raises
        BadInput if the store is of another campaign.
        """
        data, store = record.encode(self.campaign, self.shards.values(), self.cells, self.planned()), Store(self.store)
        store.sweep()
        if not store.create(FILE, data) and data != store.read(FILE):
            earlier = opened(self.store)
            definition_versions.check(earlier.campaign, self.campaign, self.store)
            refuse_changes(earlier, self, self.store)
            store.replace(FILE, data)
        stored_cuts.write(store, self.cuts)
        return replace(self, cuts=stored_cuts.read(store, self.cells))

    def write_plan(self) -> None:
        """Write into the store what each of its cells plans now: cells that a stop rule ended hold fewer units than before.

        Cells and shards that another driver added while this one worked stay. One that is about to cut its new cells writes
        the plan itself, at its own end.
        """
        store, now = Store(self.store), opened(self.store)
        if now.uncut:
            return
        data = record.encode(now.campaign, now.shards.values(), now.cells, now.planned())
        if data != store.read(FILE):
            store.replace(FILE, data)


def opened(url: str) -> Job:
    """Return the job that the store at `url` was made by. Raises BadInput if there is none, or this version can't read it."""
    store = Store(url, urls.ANSWER_SECONDS)
    job = Job(*record.read(store, url), url)
    return replace(job, cuts=stored_cuts.read(store, job.cells))
