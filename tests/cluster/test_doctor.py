"""Judge facts made by hand; run `barrage doctor` on this machine."""

import os
from dataclasses import replace

import pytest

from cluster import doctor, node_facts
from cluster.node_checks import findings, runs, unusable
from cluster.node_facts import Facts, Gpu, gpus
from pipeline.config.fields import Share
from tests.support import tiny

GIB = 1 << 30
V100 = Gpu("Tesla V100-SXM2-16GB", (7, 0), 16 * GIB, "535.104.05")
CU126 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
CU130 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
VERSIONS = {"python": "3.11.7", "torch": "2.6.0", "ray": "2.60.0"}
NODE = Facts("a", 8, 64 * GIB, (V100,), "12.6", CU126, {"python": "3.11.7", "torch": "2.6.0", "ray": "2.60.0"}, (), "", True)
OTHER = replace(NODE, node="b", created=False)


def found(*facts, share=None, nodes=None):
    checks = findings(facts, share or Share(), nodes or len(facts), stored=True)
    return {finding.check: finding for finding in checks}


def failed(*facts, **changes):
    return {name: finding for name, finding in found(*facts, **changes).items() if finding.passed is False}


def test_good_nodes_pass():
    assert not failed(NODE, OTHER)
    assert found(NODE, OTHER)["GPUs"].found == "2: Tesla V100-SXM2-16GB"


@pytest.mark.parametrize(
    ("check", "bad", "said", "remedy"),
    [
        ("GPUs", {"cuda": "13.0", "architectures": CU130}, "b: torch's build for CUDA 13.0", "whl/cu126"),
        ("GPUs", {"cuda": None, "architectures": ()}, "torch is a CPU build", "whl/cu126"),
        ("GPUs", {"gpus": (replace(V100, driver="470.1"),)}, "driver 470.1 is too old for CUDA 12.6", "driver 525"),
        ("GPUs", {"gpus": (replace(V100, memory=4 * GIB),)}, "has 4 GiB", "8 GiB or more"),
        ("memory", {"memory": 2 * GIB}, "b: 2 GiB for 1 workers", "3 GiB"),
        ("versions", {"versions": NODE.versions | {"torch": "2.7.0"}}, "torch is 2.6.0 on a, 2.7.0 on b", "one environment"),
        ("versions", {"versions": {"python": "3.11.7"}}, "ray is 2.60.0 on a, none on b", "one environment"),
        ("GPUs", {"ray_gpus": 2}, "b: Ray counts 2 GPUs, the driver shows 1", "nvidia-smi"),
        ("clocks", {"clock_ahead": 19.0}, "b is 19 s ahead", "chrony"),
        ("clocks", {"clock_ahead": -39.0}, "b is 39 s behind", "chrony"),
        (
            "shards",
            {"unreadable": ("/d/x.tar: No such file", "/d/y.tar: No such file")},
            "b: /d/x.tar: No such file and 1 more",
            "mount",
        ),
        ("store", {"store_error": "PermissionError: no"}, "b: PermissionError: no", "right to write"),
        ("store", {"created": True}, "2 nodes created the same file, one after the other: a, b", "shared file system"),
    ],
)
def test_each_fault_is_found_alone_with_its_remedy(check, bad, said, remedy):
    faults = failed(NODE, replace(OTHER, **bad))
    assert list(faults) == [check]
    assert said in faults[check].found and remedy in faults[check].remedy


def test_gpus_that_no_worker_asks_for_need_not_be_there():
    assert not failed(NODE, replace(OTHER, ray_gpus=2), share=Share(gpus=0))


@pytest.mark.parametrize("wrong", [-30.0, 0.0, 30.0])
def test_a_clock_is_read_between_question_and_answer(monkeypatch, wrong):
    """Answers may take long: one of three is quick, and it alone counts."""
    now, delays = [1000.0], iter([(60.0, 0.0), (0.5, 0.1), (0.0, 45.0)])
    monkeypatch.setattr(doctor.time, "time", lambda: now[0])

    def clock():
        question, answer = next(delays)
        now[0] += question
        reading = now[0] + wrong
        now[0] += answer
        return reading

    assert doctor.clock_ahead(clock) == pytest.approx(wrong, abs=0.3)


def test_only_what_ray_may_use_of_a_node_counts():
    """Ray has less than the machine on a shared node or in a pod."""
    has = {"CPU": 4.0, "GPU": 1.0, "memory": 6.0 * GIB, "object_store_memory": 1.0 * GIB}
    facts = doctor._usable_by_ray(replace(NODE, cpus=96), has)
    assert (facts.cpus, facts.memory, facts.ray_gpus) == (4, 7 * GIB, 1)
    assert not failed(facts) and "7 GiB for 4 workers" in failed(facts, share=Share(gpus=0))["memory"].found
    head = doctor._usable_by_ray(NODE, {"memory": 1e12})
    assert (head.cpus, head.memory, head.ray_gpus) == (0, NODE.memory, 0)


def test_memory_is_that_of_the_container(tmp_path, monkeypatch):
    monkeypatch.setattr(node_facts, "MEMORY_LIMIT", tmp_path / "memory.max")
    whole = node_facts.memory()
    for limit, expected in (("max", whole), (str(GIB), GIB), (str(whole * 2), whole)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert node_facts.memory() == expected


def test_missing_nodes_are_a_fault():
    assert "1 of 2: a" in failed(NODE, nodes=2)["nodes"].found


def test_a_file_that_no_node_created_is_a_fault():
    assert "0 nodes" in failed(OTHER)["store"].found


def test_memory_is_for_as_many_workers_as_fit():
    cpus = replace(NODE, gpus=(), cpus=32, memory=48 * GIB)
    assert "48 GiB for 32 workers" in failed(cpus)["memory"].found
    assert not failed(cpus, share=Share(cpus=2))  # 16 workers of 3 GiB
    assert not failed(cpus, share=Share(count=16))


@pytest.mark.parametrize(
    ("capability", "architectures", "can"),
    [
        ((7, 0), CU126, True),
        ((7, 0), CU130, False),
        ((8, 9), ("sm_80",), True),  # machine code runs on later minor versions
        ((8, 0), ("sm_86",), False),  # not on earlier ones
        ((9, 0), ("sm_80",), False),  # nor on other major ones
        ((9, 0), ("compute_80",), True),  # what the driver compiles does
        ((7, 0), ("compute_80",), False),
        ((12, 0), ("sm_120",), True),
        ((9, 0), ("sm_90a",), True),
        ((7, 0), (), False),
    ],
)
def test_which_builds_run_on_which_gpus(capability, architectures, can):
    assert runs(capability, architectures) == can


def test_a_v100_and_a_cu126_build_go_together():
    assert unusable(V100, "12.6", CU126) is None


def test_gpus_are_read_from_the_driver(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\necho '7.0, 16384, 535.104.05, Tesla V100-SXM2-16GB'\necho '9.0, 81559, 580.65, NVIDIA H100, 80GB'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert gpus() == [V100, Gpu("NVIDIA H100, 80GB", (9, 0), 81559 << 20, "580.65")]
    tool.write_text("#!/bin/sh\nexit 9\n")  # a driver that does not answer
    assert gpus() == []


def test_this_machine_passes_and_no_file_is_left_behind(barrage, pattern, write, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    store = tmp_path / "store"
    campaign = write(tiny.campaign(pattern, workers={"count": 1}))
    code, out, _ = barrage("doctor", campaign, "--store", store)
    assert code == 0, out
    assert "draw-gradients" in out and "written once" in out
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_a_store_that_is_a_file_fails_with_exit_code_1(barrage, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "file").touch()
    code, out, _ = barrage("doctor", "--store", tmp_path / "file" / "store")
    assert code == 1 and "FAIL" in out


def test_a_missing_node_fails_with_exit_code_1(barrage, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    code, out, _ = barrage("doctor", "--nodes", "2")
    assert code == 1 and "1 of 2" in out


def test_bad_input_is_one_line(barrage):
    code, _, err = barrage("doctor", "--on", "slurm")
    assert code == 2 and "--cluster" in err and err.count("\n") == 1
