import threading

import torch

from pipeline.store import checkpoints
from pipeline.store.layout import Store


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
    assert len(list((tmp_path / "results/cell=a").iterdir())) == 1 and list((tmp_path / ".aside").iterdir()) == []


def test_half_written_files_are_not_seen(tmp_path):
    (tmp_path / "results/cell=a").mkdir(parents=True)
    (tmp_path / "results/cell=a/.u.parquet.0123").write_bytes(b"half")
    (tmp_path / ".aside").mkdir()
    (tmp_path / ".aside/u.parquet").write_bytes(b"half")
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


def test_a_first_part_of_a_file_is_read_alone(tmp_path):
    store = Store(tmp_path)
    store.replace("checkpoints/u", b"0123456789")
    assert store.read("checkpoints/u", 4) == b"0123" and store.read("checkpoints/u", 99) == b"0123456789"
    assert store.read("checkpoints/none", 4) is None and store.read("checkpoints/u/none") is None


def test_a_store_that_is_not_there_is_empty_and_stays_away(tmp_path):
    store = Store(tmp_path / "none")
    store.ready()
    store.sweep()
    assert store.done() == set() and list(store.list("results/cell=*/*.parquet")) == [] and store.read("campaign.yaml") is None
    assert not (tmp_path / "none").exists()


HEADER = checkpoints.Header("unit", "identity", 3, 40, 16, 1.5)


def saved():
    tensors = {"x": torch.rand(2, 3, 8, 8), "keys": torch.tensor([-(2**63), 2**63 - 1])}
    return tensors, bytes(checkpoints.encode(HEADER, tensors))


def test_a_checkpoint_comes_back_bit_for_bit():
    tensors, data = saved()
    assert checkpoints.header(data, "c") == HEADER
    back = checkpoints.decode(data)
    assert back.keys() == tensors.keys() and all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_a_damaged_checkpoint_is_none_and_never_wrong():
    _, data = saved()
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 4
        back = checkpoints.decode(bytes(damaged))
        assert back is None or place < 8 + int.from_bytes(data[:8], "little"), f"a flipped bit at {place} was not noticed"
    assert checkpoints.decode(data[: len(data) // 2]) is None
    assert checkpoints.decode(b"") is None and checkpoints.header(b"", "c") is None
