"""Faults of files: what others than the campaign did to them."""

import io
import os
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.campaigns import checkpoints


def flipped(data, chance, start=0.5, stop=1.0):
    """Some bytes are others, in the later half unless told."""
    found = bytearray(data)
    for _ in range(64):
        found[chance.randrange(int(start * len(found)), int(stop * len(found)))] ^= chance.randrange(1, 256)
    return bytes(found)


DAMAGES = {
    "flipped": flipped,
    "cut": lambda data, chance: data[: chance.randrange(len(data))],
    "garbage": lambda data, chance: chance.randbytes(len(data)),
    "empty": lambda data, chance: b"",
}


def corrupt_checkpoint(scene):
    """Whoever wrote it is killed, and what is found is damaged, or that of another unit."""
    driver = scene.driver
    scene.until(lambda: checkpoints(scene.store) or driver.over, "a checkpoint")
    driver.kill()
    for pid in scene.actors:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
    scene.over(driver)
    scene.until(lambda: not scene.actors, "the actors to end")
    found = {path: path.read_bytes() for path in sorted(checkpoints(scene.store))}
    for path, data in found.items():
        kind = scene.chance.choice(["flipped", "flipped", *DAMAGES, "another's"])  # only a hash tells these
        others = [other for at, other in found.items() if at != path] or [b"{}"]
        path.write_bytes(scene.chance.choice(others) if kind == "another's" else DAMAGES[kind](data, scene.chance))
    return bool(found)


def corrupt_parquet(scene):
    """Another program wrote a file where a unit's rows should be, or over them: it is named, and its rows never count."""
    chance = scene.chance
    unit, name = chance.choice(scene.ground.units)
    path = scene.store / name
    whole = (scene.ground.folder / "quiet" / name).read_bytes()
    foreign = io.BytesIO()
    pq.write_table(pa.table({"image_key": ["image0"], "right": [True]}), foreign)
    kind = chance.choice([*DAMAGES, "foreign"])
    if kind == "flipped":  # among the columns: what follows them says where they are
        data = flipped(whole, chance, 4 / len(whole), 1 - (int.from_bytes(whole[-8:-4], "little") + 8) / len(whole))
    else:
        data = foreign.getvalue() if kind == "foreign" else DAMAGES[kind](whole, chance)
    scene.watch()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = scene.store / f".{unit}"
    aside.write_bytes(data)
    aside.rename(path)
    scene.forget(path)

    def named():
        verify = scene.over(scene.barrage("verify", scene.store, "--sample", 0))
        assert verify.code == 1 and f"{unit}: " in verify.said, f"{kind} {path}: exit code {verify.code}, {verify.said}"
        assert scene.refuses_rows(path), f"rows were read though {path} is {kind}"

    def remove():
        path.unlink(missing_ok=True)
        scene.forget(path)

    scene.checks.append(named)
    scene.mends.append(remove)
    return True


def replace_shard(scene):
    """It is gone, or another one, or has other bits: its units fail with its name, as does `verify`, until it is restored."""
    driver, chance = scene.driver, scene.chance
    scene.until(lambda: (scene.store / "campaign.yaml").exists() or driver.over, "a campaign that is begun")
    path = chance.choice(sorted(scene.ground.shards))
    data, kind = scene.ground.shards[path], chance.choice(["gone", "another", "flipped"])
    if kind == "gone":
        path.unlink(missing_ok=True)
    else:
        other = next(other for at, other in scene.ground.shards.items() if at != path)
        aside = path.with_suffix(".aside")
        aside.write_bytes(other if kind == "another" else flipped(data, chance))
        aside.rename(path)
    open_units = {unit for unit, _ in scene.ground.units if f"--{path.stem}--" in unit} - set(scene.committed)

    def named():
        if open_units - set(scene.committed):
            assert str(path) in scene.said, f"shard {path} is {kind}, and no run says so: {scene.said}"
        verify = scene.over(scene.barrage("verify", scene.store, "--sample", 0))
        assert verify.code == 1 and str(path) in verify.said, f"shard {path} is {kind}, verify says: {verify.said}"

    scene.checks.append(named)
    scene.mends.append(lambda: path.write_bytes(data))
    return True
