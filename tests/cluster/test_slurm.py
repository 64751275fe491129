"""A campaign on a real Slurm: two nodes with pretended V100s, a time limit, a node that dies."""

import pyarrow.parquet as parquet
import pytest
import yaml

from tests.cluster.slurm import Slurm, missing, until
from tests.pipeline import tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"Slurm is not installed: no {', '.join(missing())}"),
]
MEASURED = {"seconds", "device", "commit", "versions", "campaign"}
"""Columns of rows that may differ from run to run."""


def rows(store):
    table = parquet.read_table(store / "results", partitioning=None)
    kept = [name for name in table.column_names if name not in MEASURED]
    return sorted(map(str, table.select(kept).to_pylist()))


@pytest.fixture
def slurm(tmp_path):
    with Slurm(tmp_path / "slurm", {"n0": "v100", "n1": "v100"}) as cluster:
        yield cluster


@pytest.fixture
def launched(slurm, command, pattern, tmp_path, write):
    """Launches a campaign that takes two workers a minute and a half; gives its job's number, store and log, and who makes the
    rows of one machine."""

    def launch(steps, **site):
        content = tiny.campaign(pattern, workers={"cpus": 4, "gpus": 0, "stack": 1, "checkpoint_seconds": 1})
        content["attacks"]["pgd"]["steps"] = steps
        quick = write(content, "quick.yaml")
        content["models"]["net"]["architecture"] = "tests.pipeline.tiny:slow_network"
        slow = write(content)
        groups = {"v100": {"nodes": 2, "cpus": 4, "memory_gb": 4, "gpus": 2, "gpu_type": "v100", "partition": "gpu"}}
        file = tmp_path / "cluster.yaml"
        file.write_text(yaml.safe_dump({"groups": groups, "shared": True, "grace_seconds": 60, "time_limit": 600} | site))
        store = tmp_path / "store"
        environment = {"SLURM_CONF": str(slurm.file)}
        given = ("launch", slow, "--on", "slurm", "--cluster", file, "--store", store)
        done = command(*given, cwd=tmp_path, **environment)
        assert done.returncode == 0, done.stderr
        number = int(next(line for line in done.stdout.splitlines() if "Submitted" in line).split()[-1])
        again = command(*given, cwd=tmp_path, **environment)
        assert again.returncode == 2 and f"scancel {number}" in again.stderr

        def expected():
            reference = command("run", quick, "--store", tmp_path / "alone", "--here")
            assert reference.returncode == 0, reference.stderr
            return rows(tmp_path / "alone")

        return number, store, tmp_path / "launched" / "tiny" / f"slurm-{number}.log", expected

    return launch


def ended(slurm, number, log):
    until(lambda: slurm.job(number)["JobState"] in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"), f"the job: {log}", 420)
    assert slurm.job(number)["JobState"] == "COMPLETED", log.read_text()


def test_a_job_at_its_time_limit_is_queued_again_and_finishes(slurm, launched, command):
    number, store, log, expected = launched(steps=250, time_limit="00:03:00")
    until(lambda: int(slurm.job(number).get("Restarts", 0)) >= 1, f"the job to be queued again: {log}")
    assert list((store / "checkpoints").glob("*.safetensors")), log.read_text()
    slurm.ask("scontrol", "update", f"JobId={number}", "TimeLimit=10")
    ended(slurm, number, log)
    assert "back into the queue" in log.read_text()
    assert rows(store) == expected()
    verified = command("verify", store)
    assert verified.returncode == 0, verified.stdout


def test_a_node_that_dies_costs_its_share_only(slurm, launched, command):
    number, store, log, expected = launched(steps=160)
    other = "n1" if slurm.job(number).get("BatchHost") == "n0" else "n0"
    until(lambda: len(list((store / "checkpoints").glob("*.safetensors"))) >= 2, f"both workers: {log}")
    assert slurm.lose_node(other), "nothing of the job ran there"
    ended(slurm, number, log)
    assert rows(store) == expected()
    assert command("verify", store).returncode == 0


def test_a_job_told_to_stop_leaves_checkpoints_and_goes_on_when_launched_again(slurm, launched):
    number, store, log, _ = launched(steps=300)
    until(lambda: list((store / "checkpoints").glob("*.safetensors")), f"the first checkpoint: {log}")
    slurm.ask("scancel", f"--name={slurm.job(number)['JobName']}", "--batch", "--signal=TERM")
    until(lambda: slurm.job(number)["JobState"] in ("COMPLETED", "FAILED", "CANCELLED"), f"the job to stop: {log}")
    assert slurm.job(number)["ExitCode"] == "143:0", log.read_text()
    assert slurm.job(number)["Restarts"] == "0"
    assert list((store / "checkpoints").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ({"partition": "gpux"}, "partition gpux of group v100: Slurm has gpu: name one of them"),
        ({"gpu_type": "h100"}, "Slurm would refuse the job"),
    ],
)
def test_what_slurm_lacks_is_said_and_nothing_submitted(slurm, command, pattern, tmp_path, write, group, said):
    file = tmp_path / "cluster.yaml"
    group = {"cpus": 2, "memory_gb": 1, "gpus": 2, "gpu_type": "v100"} | group
    file.write_text(yaml.safe_dump({"groups": {"v100": group}, "shared": True, "time_limit": 600}))
    campaign = write(tiny.campaign(pattern))
    done = command("launch", campaign, "--on", "slurm", "--cluster", file, cwd=tmp_path, SLURM_CONF=str(slurm.file))
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert not slurm.ask("squeue", "-h") and not (tmp_path / "launched").exists()
