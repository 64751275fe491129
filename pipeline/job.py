"""A campaign meets its store: everything checked before work starts, and resolved."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

import torch
import yaml

from pipeline import models, networks, shards
from pipeline.campaign import BadInput, Campaign, Cell, Workers, parse
from pipeline.plan import Unit, units
from pipeline.planned import FILE, Planned
from pipeline.shards import Shard
from pipeline.store import Store


@dataclass(frozen=True)
class Job:
    """What a worker needs to know, sent once: the resolved campaign, its shards and the store."""

    campaign: Campaign
    shards: dict[str, Shard]
    store: str

    @property
    def name(self) -> str:
        return self.campaign.name

    @property
    def workers(self) -> Workers:
        return self.campaign.workers

    @property
    def cells(self) -> dict[str, Cell]:
        return {cell.name: cell for cell in self.campaign.grid()}

    def units(self) -> Iterator[Unit]:
        """Every unit of the campaign, done or not."""
        campaign = self.campaign
        return units(campaign.grid(), self.shards.values(), campaign.unit_images, campaign.data.limit)

    def todo(self) -> list[Unit]:
        """The plan minus the files that exist."""
        done = Store(self.store).done()
        return [unit for unit in self.units() if unit.name not in done]

    def planned(self) -> dict[str, Planned]:
        """What each cell comes to."""
        units, images = Counter[str](), Counter[str]()
        for unit in self.units():
            units[unit.cell] += 1
            images[unit.cell] += unit.images
        return {
            name: Planned(units[name], images[name], cell.cost.gradients, cell.draws_judged, cell.defense.k)
            for name, cell in self.cells.items()
        }

    def write_down(self) -> None:
        """Puts the resolved campaign into the store, where it is not there yet or has fewer cells or shards."""
        content = {
            "campaign": self.campaign.model_dump(mode="json", exclude={"store", "workers"}),
            "shards": [asdict(shard) for shard in self.shards.values()],
            "identity": {name: cell.identity for name, cell in self.cells.items()},
            "planned": {name: asdict(found) for name, found in self.planned().items()},
        }
        data, store = yaml.safe_dump(content, sort_keys=False).encode(), Store(self.store)
        if not store.create(FILE, data) and data != store.read(FILE):
            _same(opened(self.store), self.campaign, self.store)
            store.replace(FILE, data)


def resolve(campaign: Campaign) -> Campaign:
    """The campaign with the hashes of its weights and networks. Raises BadInput if any are missing or others than expected."""
    found = {n: models.checked(m) for n, m in campaign.models.items()}
    attacks = {n: networks.checked(a) for n, a in campaign.attacks.items()}
    return campaign.model_copy(update={"models": found, "attacks": attacks})


def prepare(campaign: Campaign, url: str, report: Callable[[str], None] = lambda line: None) -> Job:
    """The job of a campaign on a store, new or half done. Touches nothing. Raises BadInput."""
    campaign = resolve(campaign)
    found = shards.paths(campaign.data)
    store = Store(url)
    earlier = opened(url) if store.read(FILE) is not None else None
    if earlier:
        _same(earlier, campaign, url)
        campaign = campaign.model_copy(update={"unit_images": earlier.campaign.unit_images})
    known = earlier.shards if earlier else {}
    new = [path for path in found if path.name.removesuffix(".tar") not in known]
    if new:
        report(f"reading {len(new)} shards for the first time")
    seen: dict[str, Shard] = {}
    for path in found:
        name = path.name.removesuffix(".tar")
        shard = known.get(name) or shards.inspect(path)
        if path.stat().st_size != shard.bytes:
            raise BadInput(f"shard {path} has {path.stat().st_size} bytes, the store {url} saw {shard.bytes}: restore it")
        seen[name] = Shard(**(asdict(shard) | {"url": str(path.resolve())}))
    _labels_fit(campaign, seen.values())
    for model in campaign.models.values():
        models.classifier(model, campaign.data.crop, torch.device("cpu"))
    for cell in campaign.grid():
        networks.fit(cell)
    for name in known.keys() - seen.keys():
        raise BadInput(f"store {url} holds rows of shard {name}, which the campaign lacks: add it, or use another store")
    return Job(campaign, seen, url)


def opened(url: str) -> Job:
    """The job that a store was made by. Raises BadInput if there is no store."""
    data = Store(url).read(FILE)
    if data is None:
        raise BadInput(f"store {url} holds no {FILE}: give the folder that `barrage run` wrote to")
    content = yaml.safe_load(data)
    found = {s["url"]: Shard(**(s | {"labels": tuple(s["labels"])})) for s in content["shards"]}
    return Job(parse(content["campaign"], f"{url}/{FILE}"), {s.name: s for s in found.values()}, url)


def _same(earlier: Job, campaign: Campaign, url: str) -> None:
    """Adding cells or shards to a store is allowed, changing what is there is not."""
    now = {cell.name: cell for cell in campaign.grid()}
    for name, cell in earlier.cells.items():
        if name not in now:
            raise BadInput(f"store {url} holds the cell {name}, which the campaign lacks: add it, or use another --store")
        if now[name].identity != cell.identity:
            was, what = cell.model_dump(), now[name].model_dump()
            changed = ", ".join(k for k in was if was[k] != what[k])
            raise BadInput(f"store {url} is of another campaign: {changed} of cell {name} differ; use another --store")
    if earlier.campaign.data.limit != campaign.data.limit:
        before, limit = earlier.campaign.data.limit, campaign.data.limit
        raise BadInput(f"store {url} was made with data.limit {before}, not {limit}: use another --store")


def _labels_fit(campaign: Campaign, found: Iterable[Shard]) -> None:
    for shard in found:
        for name, model in campaign.models.items():
            if shard.labels[1] >= model.classes:
                raise BadInput(
                    f"shard {shard.url} holds the label {shard.labels[1]}, model {name} has the classes 0 to "
                    f"{model.classes - 1}: use data with the model's labels"
                )
