"""Run campaigns on a real Slurm with pretended GPUs and without internet: time limits, dead nodes, shared nodes."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support import tiny
from tests.support.campaigns import decided
from tests.support.cluster import counting_network
from tests.support.cluster.slurm import Slurm, missing, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"Slurm is not installed: no {', '.join(missing())}"),
]
OVER = {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY"}
PARTITIONS = {"gpu": {"n0": "v100", "n1": "v100"}, "mixed": {"m0": "v100", "m1": "a100"}}
GROUPS = {"v100": {"nodes": 2, "cpus": 4, "memory_gb": 4, "gpus": 2, "gpu_type": "v100", "partition": "gpu"}}
MIXED = {
    "v100": {"cpus": 2, "memory_gb": 4, "gpus": 1, "gpu_type": "v100", "accelerator": "V100", "partition": "mixed"},
    "a100": {"cpus": 2, "memory_gb": 4, "gpus": 1, "gpu_type": "a100", "accelerator": "A100", "partition": "mixed"},
}
CLEAN_JUDGED = 3 * 4
"""Passes for the clean verdict of a unit of 3 images and 4 draws, which no checkpoint holds."""

CHECKED = 5
"""Passes with which a driver or a worker tests its network."""

ADMITTED = 14
"""Further passes with which a driver finds out whether the network can be judged and attacked."""

OUTLIVED = 4
"""Passes that workers make on a node that outlives the driver's: two each since its last checkpoint, as a held pass takes as
long as a checkpoint stays young."""


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    with Slurm(tmp_path_factory.mktemp("slurm"), PARTITIONS) as cluster:
        yield cluster


@pytest.fixture
def slurm(machines):
    """Wait until all nodes are idle, before and after the test."""
    machines.restore()
    yield machines
    machines.cancel()


@dataclass
class Launched:
    """Describe a campaign as a job: its number, its file, its store, and where its network logs passes."""

    slurm: Slurm
    campaign: Path
    store: Path
    counts: Path
    number: int

    @property
    def log(self):
        return self.store.parent / "launched" / "tiny" / f"slurm-{self.number}.log"

    @property
    def about(self):
        """Return what Slurm knows of the job, as {key: value}."""
        return self.slurm.job(self.number)

    def until(self, condition, what):
        """Wait for a condition while the job exists."""
        until(lambda: condition() or self.about["JobState"] in OVER, f"{what}: {self.log}")
        assert condition(), f"the job ended before {what}:\n{self.log.read_text()}"

    def ended(self):
        """Wait for the end, and return the state."""
        until(lambda: self.about["JobState"] in OVER, f"the end of the job: {self.log}")
        return self.about["JobState"]

    def finished(self):
        """Release the network, and wait until the job is done."""
        self.hold.unlink()
        assert self.ended() == "COMPLETED", self.log.read_text()

    @property
    def hold(self):
        return self.counts / "hold"

    @property
    def checkpoints(self):
        return list((self.store / "checkpoints").glob("*.safetensors"))


@pytest.fixture
def launch(slurm, command, pattern, tmp_path, write):
    """Launch a campaign whose network waits for a release, so that it does not finish too soon."""
    counts, store, site = tmp_path / "counts", tmp_path / "store", tmp_path / "cluster.yaml"
    counts.mkdir()

    def call(workers=None, **changes):
        (counts / "hold").touch()
        shares = {"cpus": 4, "gpus": 0, "stack": 1, "checkpoint_seconds": 1} | (workers or {})
        network = {"architecture": "tests.support.cluster.counting_network:network", "classes": 10}
        content = tiny.campaign(pattern, workers=shares, models={"net": network})
        content["attacks"]["pgd"]["steps"] = 20
        values = {
            "groups": GROUPS,
            "shared": True,
            "grace_seconds": 60,
            "time_limit": 600,
            "environment": {"COUNTED": str(counts), "RAY_gcs_rpc_server_reconnect_timeout_s": "20"},
        }
        site.write_text(yaml.safe_dump(values | changes))
        given = ("launch", write(content), "--on", "slurm", "--cluster", site, "--store", store)
        done = command(*given, cwd=tmp_path, by=slurm.inside, SLURM_CONF=str(slurm.file), COUNTED=str(counts))
        assert done.returncode == 0, done.stderr
        number = int(next(line for line in done.stdout.splitlines() if "Submitted" in line).split()[-1])
        again = command(*given, cwd=tmp_path, by=slurm.inside, SLURM_CONF=str(slurm.file), COUNTED=str(counts))
        assert again.returncode == 2 and f"scancel {number}" in again.stderr
        return Launched(slurm, tmp_path / "campaign.yaml", store, counts, number)

    return call


@pytest.fixture
def check(command, tmp_path):
    """Compare the rows of a finished job with those of a run on one machine; return how many passes were repeated.

    drivers  number of drivers that the job started
    """

    def call(job, drivers=1):
        alone = tmp_path / "alone"
        alone.mkdir()
        done = command("run", job.campaign, "--store", tmp_path / "reference", "--here", COUNTED=str(alone))
        assert done.returncode == 0, done.stderr
        assert decided(job.store) == decided(tmp_path / "reference")
        made, needed = counting_network.passes(job.counts), counting_network.passes(alone)
        verified = command("verify", job.store, "--sample", "2", COUNTED=str(alone))
        assert verified.returncode == 0, verified.stdout
        checks = CHECKED * (len(made) - 2)  # a process of its own each, where one machine's driver is its worker
        checks += ADMITTED * (drivers - 1)
        return sum(map(len, made.values())) - sum(map(len, needed.values())) - checks

    return call


def unsaved(job, nodes):
    """Return the passes of the workers on these nodes since the older of both workers' checkpoints, and those before it."""
    saved = [path.stat().st_mtime for path in job.checkpoints]
    if len(saved) != 2:
        return 0, 0
    times = [when for (node, _), found in counting_network.passes(job.counts).items() if node in nodes for when in found]
    return sum(when >= min(saved) for when in times), sum(when < min(saved) for when in times)


def well_begun(job):
    """Wait until both workers have checkpoints, and each has done far more than it would lose."""

    def both():
        found = [unsaved(job, {node}) for node in ("n0", "n1")]
        return all(kept > 3 * (lost + CLEAN_JUDGED) for lost, kept in found)

    job.until(both, "both workers had done a good deal")


def test_nodes_have_no_way_out(slurm):
    if slurm.network is None:
        pytest.skip("a network of one's own takes rights that we lack here")
    assert slurm.ask("srun", "awk", "NR > 2 { print $1 }", "/proc/net/dev").split() == ["lo:"]


def test_a_job_at_its_time_limit_is_queued_again_and_finishes(launch, check):
    job = launch()
    well_begun(job)
    used = int(job.slurm.ask("squeue", "-h", "-o", "%M", "-j", str(job.number)).split(":")[0])
    job.slurm.ask("scontrol", "update", f"JobId={job.number}", f"TimeLimit={used + 2}")  # Slurm warns a minute before
    job.until(lambda: int(job.about["Restarts"]) == 1, "it was queued again")
    assert "requeued: the job continues" in job.log.read_text() and job.checkpoints
    job.slurm.ask("scontrol", "update", f"JobId={job.number}", "TimeLimit=10")
    job.finished()
    assert check(job, drivers=2) <= 2 * CLEAN_JUDGED, "work was done again, though there was time for checkpoints"


@pytest.mark.parametrize("head", [True, False], ids=["the-head", "another-node"])
def test_a_node_that_dies_costs_the_work_since_the_last_checkpoint(launch, check, head):
    job = launch()
    well_begun(job)
    first = job.about["BatchHost"]
    other = ({"n0", "n1"} - {first}).pop()
    assert job.slurm.lose_node(first if head else other), "nothing of the job ran there"
    lost, kept = unsaved(job, {"n0", "n1"})
    job.until(lambda: int(job.about["Restarts"]) == 1, "it was queued again")
    job.slurm.start_node(first if head else other)
    job.finished()
    again = check(job, drivers=2)
    costs = lost + 2 * CLEAN_JUDGED + OUTLIVED
    assert again <= costs < kept, f"{again} passes again; {lost} after checkpoints, {kept} before"


def test_a_stopped_job_leaves_checkpoints_and_continues_when_launched_again(launch, check):
    job = launch()
    well_begun(job)
    job.slurm.ask("scancel", f"--name={job.about['JobName']}", "--batch", "--signal=TERM")
    job.ended()
    assert job.about["ExitCode"] == "143:0", job.log.read_text()
    assert job.about["Restarts"] == "0" and job.checkpoints
    again = launch()
    again.finished()
    assert check(again, drivers=2) <= 2 * CLEAN_JUDGED


def test_a_campaign_goes_where_its_gpus_are_on_nodes_that_others_use_too(slurm, launch, check, installed):
    """Use two types of GPU, one of them requested; another job has half of each node."""
    other = Path(slurm.root / "other.sh")
    other.write_text("#!/bin/sh\nexec sleep 3600\n")
    half = (
        "--cpus-per-task=2",
        "--mem=8G",
        "--gres=gpu:1",
        "--partition=mixed",
        "--nodes=2",
        "--ntasks=2",
        "--output=/dev/null",
    )
    taken = int(slurm.ask("sbatch", *half, other).split()[-1])
    until(lambda: slurm.job(taken)["JobState"] == "RUNNING", "the other job")
    job = launch({"cpus": 1, "gpus": None, "accelerator": "V100"}, groups=MIXED, preflight=False)
    job.until(lambda: counting_network.passes(job.counts), "a worker began")
    job.finished()
    assert slurm.job(taken)["JobState"] == "RUNNING"
    assert check(job) <= 0
    workers = {node for (node, _), times in counting_network.passes(job.counts).items() if len(times) > CHECKED + ADMITTED}
    assert workers == {"m0"}, "only that node has a V100"


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ({"partition": "gpux"}, "partition gpux of group v100: Slurm has gpu, mixed: name one of them"),
        ({"gpu_type": "h100"}, "Slurm would refuse the job"),
        ({"cpus": 400}, "Slurm would refuse the job"),
    ],
)
def test_what_slurm_lacks_is_said_and_nothing_submitted(slurm, command, pattern, tmp_path, write, group, said):
    file = tmp_path / "cluster.yaml"
    group = {"cpus": 2, "memory_gb": 1, "gpus": 2, "gpu_type": "v100"} | group
    file.write_text(yaml.safe_dump({"groups": {"v100": group}, "shared": True, "time_limit": 600}))
    given = ("launch", write(tiny.campaign(pattern)), "--on", "slurm", "--cluster", file)
    done = command(*given, cwd=tmp_path, by=slurm.inside, SLURM_CONF=str(slurm.file))
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert not slurm.ask("squeue", "-h") and not (tmp_path / "launched").exists()
