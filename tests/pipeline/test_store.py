import threading

import pytest
import torch

from pipeline import checkpoint
from pipeline.campaign import BadInput
from pipeline.store import Store


def test_create_is_won_once(tmp_path):
    store, wins = Store(tmp_path), []
    barrier = threading.Barrier(8)

    def attempt(i):
        barrier.wait()
        if store.create("results/cell=a/u.parquet", b"%d" % i * 10000):
            wins.append(i)

    threads = [threading.Thread(target=attempt, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert store.read("results/cell=a/u.parquet") == b"%d" % wins[0] * 10000
    assert store.done() == {"u"}
    assert len(list((tmp_path / "results/cell=a").iterdir())) == 1, "nothing left aside"


def test_half_written_files_are_not_seen(tmp_path):
    (tmp_path / "results/cell=a").mkdir(parents=True)
    (tmp_path / "results/cell=a/.u.parquet.0123").write_bytes(b"half")
    store = Store(tmp_path)
    assert store.done() == set() and list(store.list("results/cell=*/*.parquet")) == []


def test_replace_and_remove(tmp_path):
    store = Store(tmp_path)
    store.replace("checkpoints/u", b"1")
    store.replace("checkpoints/u", b"2")
    assert store.read("checkpoints/u") == b"2"
    store.remove("checkpoints/u")
    store.remove("checkpoints/u")
    assert store.read("checkpoints/u") is None


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    import os

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Store(tmp_path).create("results/cell=a/u.parquet", b"data")
    assert list((tmp_path / "results/cell=a").iterdir()) == []


def test_a_url_is_refused():
    with pytest.raises(BadInput, match="local path"):
        Store("s3://bucket/store")


HEADER = checkpoint.Header("unit", "identity", 3, 40, 16, 1.5)


def saved():
    tensors = {"x": torch.rand(2, 3, 8, 8), "keys": torch.tensor([-(2**63), 2**63 - 1])}
    return tensors, checkpoint.encode(HEADER, tensors)


def test_a_checkpoint_comes_back_bit_for_bit():
    tensors, data = saved()
    assert checkpoint.header(data) == HEADER
    back = checkpoint.decode(data)
    assert back.keys() == tensors.keys() and all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_a_damaged_checkpoint_is_none_and_never_wrong():
    _, data = saved()
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 4
        back = checkpoint.decode(bytes(damaged))
        assert back is None or place < 8 + int.from_bytes(data[:8], "little"), f"a flipped bit at {place} was not noticed"
    assert checkpoint.decode(data[: len(data) // 2]) is None
    assert checkpoint.decode(b"") is None and checkpoint.header(b"") is None
