"""A campaign meets its store: everything checked before work starts, and resolved."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
import yaml

from barrage_plugins import allowed
from pipeline.campaigns import recorded, stop_rule
from pipeline.campaigns.parking import parked
from pipeline.campaigns.stop_rule import Look
from pipeline.config.campaign import Campaign, Cell, Stop, Workers, parse
from pipeline.config.yaml_loader import plain
from pipeline.data import order, shards
from pipeline.data.shards import Shard
from pipeline.errors import BadInput
from pipeline.models import bpda_networks, loading
from pipeline.parallel import map_ordered
from pipeline.planning import unit_sizes
from pipeline.planning.units import Cut, Unit, planned_images, units
from pipeline.scoring.summaries import Scope
from pipeline.storage import urls
from pipeline.store.layout import Store
from pipeline.store.planned_cells import DAMAGED, FILE, Planned, damaged


@dataclass(frozen=True)
class Job:
    """What a worker needs to know, sent once: the resolved campaign, its shards, the store, how its cells are cut, and whose
    code it may run."""

    campaign: Campaign
    shards: dict[str, Shard]
    store: str
    cuts: dict[str, Cut] = field(default_factory=dict)
    """Of the cells that are in the store; the others get theirs by `with_cuts`."""
    modules: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.campaign.name

    @property
    def workers(self) -> Workers:
        return self.campaign.workers

    @cached_property
    def cells(self) -> dict[str, Cell]:
        return {cell.name: cell for cell in self.campaign.grid()}

    @cached_property
    def images(self) -> dict[str, int]:
        """How many images of each shard are attacked."""
        return planned_images(self.shards.values(), self.campaign.data.limit)

    @property
    def uncut(self) -> list[Cell]:
        """The cells whose units are not decided yet."""
        return [cell for name, cell in self.cells.items() if name not in self.cuts]

    def with_cuts(self, rates: Mapping[str, float]) -> "Job":
        """The job with all cells cut into units; `rates` in draw-gradients a second of a worker, as far as measured."""
        return replace(self, cuts=self.cuts | unit_sizes.cuts(self.campaign, self.uncut, self.images, rates))

    def units(self) -> Iterator[Unit]:
        """Every unit of the campaign, done or not, in the order of the work."""
        for cell in self.uncut:
            raise BadInput(f"store {self.store} has no units of cell {cell.name} yet: run the campaign again, it goes on there")
        return units(self.cells.values(), self.images, self.cuts)

    def places(self, unit: Unit) -> list[int]:
        """Where the images of a unit lie in their shard, ascending."""
        return order.places(self.campaign.seed, unit.shard, self.images[unit.shard], unit.start, unit.stop)

    def expected(self) -> Iterator[Unit]:
        """The units that the store holds once all is done: every one but those that a stop rule made needless."""
        ends = {cell: look.round for cell in self.cells if (look := self.ended(cell))}
        return (unit for unit in self.units() if unit.cell not in ends or self.round_of(unit) <= ends[unit.cell])

    def todo(self) -> list[Unit]:
        """The plan minus the files that exist: neither done, nor made needless, nor given up."""
        store = Store(self.store)
        through = store.done()
        through |= parked(store)
        return [unit for unit in self.expected() if unit.name not in through]

    @property
    def over(self) -> bool:
        """Whether nothing is left to do, though a look at the last of it may be."""
        return not self.uncut and not self.todo()

    def parked(self) -> list[str]:
        """The names of the units that were given up and that nobody managed since."""
        store = Store(self.store)
        names = parked(store)
        names -= store.done() if names else set()
        return [unit.name for unit in self.expected() if unit.name in names] if names else []

    def round_of(self, unit: Unit) -> int:
        return self.cuts[unit.cell].round_of(unit, self.images[unit.shard])

    def due(self, cell: str) -> list[int]:
        """The rounds after which there is a look at a cell; none without a stop rule."""
        stop = self.campaign.stop
        return stop_rule.due(stop, self.cuts[cell], self.images) if stop else []

    def looks(self, cell: str) -> list[Look]:
        """The looks that were taken at a cell."""
        return stop_rule.taken(Store(self.store), cell, self.due(cell))

    def ended(self, cell: str) -> Look | None:
        """The look that ended a cell."""
        stop = self.campaign.stop
        return next((look for look in self.looks(cell) if look.ends(stop)), None) if stop else None

    def seen(self, cell: str, number: int, without: Collection[str] = ()) -> Look:
        """What the rows up to a round say of a cell with a stop rule; `without` some units."""
        assert self.campaign.stop, "only a stop rule looks"
        names = [unit.name for unit in self.units() if unit.cell == cell and self.round_of(unit) <= number]
        rule = self.campaign.stop.rule
        return stop_rule.seen(self.store, cell, number, self.cuts[cell], rule, set(names).difference(without))

    def scopes(self) -> dict[str, Scope]:
        """What each cell was to hold, for the table."""
        return {cell: Scope(sum(self.images.values()), self.ended(cell) is not None) for cell in self.cells}

    def planned(self) -> dict[str, Planned]:
        """What each cell comes to."""
        units, images = Counter[str](), Counter[str]()
        for unit in self.expected():
            units[unit.cell] += 1
            images[unit.cell] += unit.images
        return {
            name: Planned(units[name], images[name], cell.cost.gradients, cell.draws_judged, cell.defense.k)
            for name, cell in self.cells.items()
        }

    def write_down(self) -> "Job":
        """Puts the resolved campaign into the store, where it is not there yet or has fewer cells or shards, and the cuts of
        its cells; gives the job with the cuts that hold, which are those of whoever was first."""
        content = {
            "campaign": self.campaign.model_dump(mode="json", exclude={"store", "workers"}),
            "shards": [asdict(shard) for shard in self.shards.values()],
            "identity": {name: cell.identity for name, cell in self.cells.items()},
            "planned": {name: asdict(found) for name, found in self.planned().items()},
            **recorded.record(self.campaign),
        }
        data, store = yaml.safe_dump(content, sort_keys=False).encode(), Store(self.store)
        store.sweep()
        if not store.create(FILE, data) and data != store.read(FILE):
            earlier = opened(self.store)
            recorded.check(earlier.campaign, self.campaign, self.store)
            _same(earlier, self, self.store)
            store.replace(FILE, data)
        for name, cut in self.cuts.items():
            store.create(_cut_file(name), unit_sizes.encode(cut))
        return replace(self, cuts=_cuts(store, self.cells))


def _cut_file(cell: str) -> str:
    return f"units/{cell}.json"


def _cuts(store: Store, cells: Iterable[str]) -> dict[str, Cut]:
    found = ((cell, store.read(_cut_file(cell))) for cell in cells)
    return {cell: unit_sizes.decode(data) for cell, data in found if data is not None}


def resolve(campaign: Campaign) -> Campaign:
    """The campaign with the hashes of its weights and networks, and its models' preprocessing. Raises BadInput if any are
    missing or others than expected."""
    found = {n: loading.described(loading.checked(m), campaign.data) for n, m in campaign.models.items()}
    attacks = {n: bpda_networks.checked(a) for n, a in campaign.attacks.items()}
    return campaign.model_copy(update={"models": found, "attacks": attacks})


def prepare(campaign: Campaign, url: str, report: Callable[[str], None] = lambda line: None) -> Job:
    """The job of a campaign on a store, new or half done. Leaves nothing behind. Raises BadInput, StorageError."""
    campaign = resolve(campaign)
    store = Store(url, urls.DOOR)
    store.ready()
    found = shards.paths(campaign.data)
    earlier = opened(url) if store.read(FILE) is not None else None
    known = earlier.shards if earlier else {}
    new = [path for path in found if shards.name(path) not in known]
    if new:
        report(f"reading {len(new)} shards for the first time")
    known = known | dict(zip(map(shards.name, new), map_ordered(shards.inspect, new), strict=True))
    seen: dict[str, Shard] = {}
    for path, size in found.items():
        shard = known[shards.name(path)]
        if size != shard.bytes:
            raise BadInput(f"shard {path} has {size} bytes, the store {url} saw {shard.bytes}: restore it")
        seen[shard.name] = replace(shard, url=path)
    _labels_fit(campaign, seen.values())
    for name, model in campaign.models.items():
        loaded = loading.classifier(model, model.crop or campaign.data.crop, torch.device("cpu"))
        loading.attackable(loaded, [cell for cell in campaign.grid() if cell.model_name == name])
    for cell in campaign.grid():
        bpda_networks.fit(cell)
    for name in known.keys() - seen.keys():
        raise BadInput(f"store {url} holds rows of shard {name}, which the campaign lacks: add it, or use another store")
    job = Job(campaign, seen, url, earlier.cuts if earlier else {}, allowed())
    if earlier:
        recorded.check(earlier.campaign, campaign, url)
        _same(earlier, job, url)
    return job if campaign.unit_images is None else job.with_cuts({})


def opened(url: str) -> Job:
    """The job that a store was made by. Raises BadInput if there is no store, or one that this version can not read."""
    store = Store(url, urls.DOOR)
    data = store.read(FILE)
    if data is None:
        raise BadInput(f"store {url} holds no {FILE}: give the folder that `barrage run` wrote to")
    try:
        content = plain(data)
        found = [Shard(**(shard | {"labels": tuple(shard["labels"])})) for shard in content["shards"]]
        campaign = content["campaign"]
    except DAMAGED as error:
        raise damaged(url, error) from None
    try:
        parsed = parse(campaign, f"{url}/{FILE}")
    except BadInput as error:
        raise BadInput(f"{error}{recorded.missing(url)}") from None
    job = Job(parsed, {shard.name: shard for shard in found}, url)
    return replace(job, cuts=_cuts(store, job.cells))


def _same(earlier: Job, job: Job, url: str) -> None:
    """Adding cells or shards to a store is allowed, changing what is there is not."""
    now = job.cells
    for name, cell in earlier.cells.items():
        if name not in now:
            raise BadInput(f"store {url} holds the cell {name}, which the campaign lacks: add it, or use another --store")
        if now[name].identity != cell.identity:
            changed = ", ".join(_changes(cell.model_dump(), now[name].model_dump()))
            raise BadInput(
                f"store {url} is of another campaign: in cell {name} {changed}; use another --store, or put that back and add "
                "yours as a cell of its own, under another name"
            )
    if earlier.campaign.data.limit != job.campaign.data.limit:
        before, limit = earlier.campaign.data.limit, job.campaign.data.limit
        raise BadInput(f"store {url} was made with data.limit {before}, not {limit}: use another --store")
    for shard, count in earlier.images.items():
        if job.images.get(shard, count) != count:
            raise BadInput(
                f"store {url} attacks {count} images of shard {shard}, now data.limit leaves {job.images[shard]}: list new "
                f"shards after the old ones"
            )
    _stops_no_sooner(earlier.campaign.stop, job.campaign.stop, url)


def _changes(before: dict[str, Any], now: dict[str, Any], inside: str = "") -> Iterator[str]:
    """What is not as it was, key by key."""
    for key in dict.fromkeys([*before, *now]):
        was, is_ = before.get(key), now.get(key)
        if isinstance(was, dict) and isinstance(is_, dict):
            yield from _changes(was, is_, f"{inside}{key}.")
        elif was != is_:
            yield f"{inside}{key} was {_short(was)}, is {_short(is_)}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _stops_no_sooner(before: Stop | None, now: Stop | None, url: str) -> None:
    """A stop rule may be taken out or made stricter: the same images first, then more. Else rows would be left over."""
    if now is None or now == before:
        return
    if before is None:
        raise BadInput(f"store {url} was made without a stop rule: take `stop` out of the campaign, or use another --store")
    for name in ("rule", "minimum_images"):
        if getattr(now, name) != getattr(before, name):
            said = f"{getattr(before, name)}, not {getattr(now, name)}"
            raise BadInput(f"store {url} was made with stop.{name} {said}: put it back, or use another --store")
    if now.interval > before.interval:
        raise BadInput(
            f"store {url} was made with stop.interval {before.interval:g}, not the wider {now.interval:g}: give at most "
            f"{before.interval:g}, or use another --store"
        )


def _labels_fit(campaign: Campaign, found: Iterable[Shard]) -> None:
    for shard in found:
        for name, model in campaign.models.items():
            if shard.labels[1] >= model.classes:
                raise BadInput(
                    f"shard {shard.url} holds the label {shard.labels[1]}, model {name} has the classes 0 to "
                    f"{model.classes - 1}: use data with the model's labels"
                )
