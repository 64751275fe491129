"""Launch jobs on a real Ray cluster, and check the autoscaler's file by Ray's own validator."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.support import tiny
from tests.support.campaigns import decided
from tests.support.cluster.slurm import free_port, until

AWS = {
    "region": "us-east-1",
    "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/barrage:0.1.0",
    "machine_image": "ami-0123456789abcdef0",
    "instance_profile": "arn:aws:iam::123456789012:instance-profile/barrage",
    "groups": {"v100": {"nodes": 8, "instance": "p3.8xlarge", "cpus": 32, "memory_gb": 244, "gpus": 4, "accelerator": "V100"}},
}
QUIET = {"RAY_AUTH_MODE": "disabled"}


@pytest.fixture
def launch(barrage, pattern, write, tmp_path, monkeypatch):
    """Launch a tiny campaign; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, **site):
        cluster = write({"store": str(tmp_path / "store"), "shared": True} | site, "cluster.yaml")
        return barrage("launch", write(tiny.campaign(pattern)), "--on", "ray", "--cluster", cluster, *arguments)

    return call


def autoscaler(out):
    """Return the filled aws.yaml of a dry run."""
    return yaml.safe_load(out.partition("aws.yaml\n")[2].partition("\n$ ")[0])


def validated(config):
    """Check the file as `ray up` does, without contacting AWS."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))


def test_the_autoscalers_file_is_valid_for_ray(launch):
    code, out, err = launch("--dry-run", aws=AWS)
    assert code == 0, err
    config = autoscaler(out)
    validated(config)
    assert config["head_node_type"] in config["available_node_types"]
    head, v100 = (config["available_node_types"][name] for name in ("head", "v100"))
    assert v100["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"} and v100["max_workers"] == 8
    assert "InstanceMarketOptions" not in head["node_config"] and head["resources"] == {"CPU": 0, "GPU": 0}
    assert config["max_workers"] == 8
    assert v100["resources"] == {"CPU": 32, "GPU": 4, "accelerator_type:V100": 1}, (
        "without it the autoscaler would start no node for a V100"
    )
    assert v100["labels"] == {"group": "v100", "market-type": "spot"}
    (login,) = config["initialization_commands"]
    assert login.endswith("--password-stdin 123456789012.dkr.ecr.us-east-1.amazonaws.com")
    assert all("RAY_AUTH_MODE=token" in config[f"{who}_start_ray_commands"][-1] for who in ("head", "worker"))
    assert "ray up --yes launched/tiny/aws.yaml" in out


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """Pretend to be AWS, for Ray's own provider of nodes in this process; keys are made in a home of its own."""
    moto = pytest.importorskip("moto", reason="needs a pretended AWS: pip install 'moto[server]'")
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hush", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    with moto.mock_aws():
        yield


def made(config):
    """Return Ray's provider of nodes for a filled file, after what `ray up` does before it makes any."""
    import boto3
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config

    boto3.client("iam", "us-east-1").create_instance_profile(InstanceProfileName="barrage")
    image = boto3.client("ec2", "us-east-1").describe_images()["Images"][0]["ImageId"]
    config["file_mounts"] = {}  # the token's file is written by a launch that is not dry
    for kind in config["available_node_types"].values():
        kind["node_config"]["ImageId"] = image
    ready = bootstrap_aws(prepare_config(config))
    return AWSNodeProvider(ready["provider"], ready["cluster_name"]), ready["available_node_types"]


@pytest.mark.slow
def test_on_aws_each_node_is_as_the_file_says_and_nothing_that_costs_stays(launch, aws):
    import boto3

    provider, kinds = made(autoscaler(launch("--dry-run", aws=AWS)[1]))
    for kind in kinds:
        provider.create_node(dict(kinds[kind]["node_config"]), {"ray-user-node-type": kind}, 1)
    ec2 = boto3.client("ec2", "us-east-1")
    found = [node for page in ec2.describe_instances()["Reservations"] for node in page["Instances"]]
    tags = {node["InstanceType"]: {tag["Key"]: tag["Value"] for tag in node["Tags"]} for node in found}
    assert {name: tag["ray-user-node-type"] for name, tag in tags.items()} == {"m5.2xlarge": "head", "p3.8xlarge": "v100"}
    assert {tag["ray-cluster-name"] for tag in tags.values()} == {"barrage-tiny"}
    assert {node["InstanceType"]: node.get("InstanceLifecycle") for node in found} == {"m5.2xlarge": None, "p3.8xlarge": "spot"}
    assert {node["IamInstanceProfile"]["Arn"] for node in found} == {AWS["instance_profile"]}
    provider.terminate_nodes(provider.non_terminated_nodes({}))
    assert not provider.non_terminated_nodes({}) and not ec2.describe_volumes()["Volumes"], "disks are paid for until they go"


@pytest.mark.parametrize("key", ["cluster_name", "provider", "available_node_types", "head_node_type", "idle_timeout_minutes"])
def test_a_typo_in_it_is_found_by_ray(launch, key):
    config = autoscaler(launch("--dry-run", aws=AWS)[1])
    config[key + "x"] = config.pop(key)
    with pytest.raises(Exception, match=f"{key}|not valid|unexpected|required"):
        validated(config)


def test_the_examples_are_cluster_files():
    from cluster.cluster_file import read
    from cluster.launchers import KINDS

    folder = Path(__file__).parents[2] / "cluster"
    files = {kind: sorted((folder / kind).glob("*example.yaml")) for kind in KINDS}
    assert {kind: len(found) for kind, found in files.items()} == {"slurm": 1, "kuberay": 1, "ray": 2}
    for kind, found in files.items():
        for file in found:
            read(file, KINDS[kind][0])


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ({}, "either `address` of a cluster that exists, or `aws`"),
        ({"address": "http://x:1", "aws": AWS}, "either `address`"),
        ({"address": "head:8265"}, "address: 'head:8265'"),
        ({"address": "http://x:1", "shared": False}, "which the nodes may not see"),
        ({"address": "http://x:1", "store": "stores/tiny"}, "relative path stores/tiny"),
        ({"aws": AWS | {"regoin": "us-east-1"}}, "aws.regoin: unknown key; did you mean 'region'"),
    ],
)
def test_bad_cluster_files_are_one_line(launch, site, said):
    code, _, err = launch("--dry-run", **site)
    assert code == 2 and said in err and err.count("\n") == 1


def test_a_cluster_that_does_not_answer_is_one_line_and_nothing_is_written(launch, tmp_path):
    code, _, err = launch(address=f"http://127.0.0.1:{free_port()}")
    assert code == 2 and "no Ray cluster answers at address" in err and err.count("\n") == 1
    assert not (tmp_path / "launched").exists()


def test_aws_without_a_token_is_one_line(launch, monkeypatch, tmp_path):
    pytest.importorskip("boto3")
    monkeypatch.setenv("HOME", str(tmp_path))
    code, _, err = launch(aws=AWS)
    assert code == 2 and "ray get-auth-token --generate" in err and err.count("\n") == 1


class Nodes:
    """Run Ray with a head without cores and workers with one core each; end it by process id."""

    def __init__(self, folder, environment):
        self.folder, self.environment, self.processes = folder, environment, []
        self.port, dashboard = free_port(), free_port()
        self.address = f"http://127.0.0.1:{dashboard}"
        temp = f"--temp-dir=/tmp/{folder.name}-{os.getpid()}"
        self._start(
            "--head", f"--port={self.port}", f"--dashboard-port={dashboard}", "--num-cpus=0", temp, "--include-dashboard=true"
        )
        until(self._answers, f"the dashboard: {folder}")

    def start(self, by=(), **environment):
        """Start another worker; `by` is a command that runs Ray's command."""
        self._start(f"--address=127.0.0.1:{self.port}", "--num-cpus=1", by=by, **environment)

    def _start(self, *arguments, by=(), **environment):
        here = ["--node-ip-address=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000"]
        agents = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "metrics-export-port", "runtime-env-agent-port")
        for _ in range(5):  # on a busy machine Ray gives up half a minute after its start
            ports = [f"--{name}={free_port()}" for name in agents]
            command = [*by, sys.executable, "-u", "-m", "ray.scripts.scripts", "start", "--block", *arguments, *here, *ports]
            log = self.folder / f"{len(self.processes)}.log"
            with log.open("w") as file:
                streams = {"stdout": file, "stderr": subprocess.STDOUT}
                process = subprocess.Popen(command, env=self.environment | environment, start_new_session=True, **streams)
            self.processes.append(process)
            until(lambda: process.poll() is not None or "Ray runtime started" in log.read_text(), f"Ray to start: {log}")  # noqa: B023
            if process.poll() is None:
                return
        raise AssertionError(f"Ray did not start:\n{log.read_text()}")

    def _answers(self):
        try:
            return urllib.request.urlopen(f"{self.address}/api/version", timeout=2).status == 200
        except OSError:
            return False

    def jobs(self):
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(self.address).list_jobs()

    def end(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def cluster(installed, tmp_path_factory):
    """Start a cluster of three nodes."""
    environment = (
        os.environ | installed | QUIET | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    )
    environment.pop("RAY_ADDRESS", None)
    nodes = Nodes(tmp_path_factory.mktemp("r"), environment)
    try:
        for _ in range(2):
            nodes.start()
        yield nodes
    finally:
        nodes.end()


@pytest.mark.slow
def test_a_job_goes_on_when_its_submitter_has_gone(cluster, command, pattern, write, tmp_path):
    campaign = write(tiny.campaign(pattern))
    store = tmp_path / "store"
    site = tmp_path / "cluster.yaml"
    site.write_text(yaml.safe_dump({"address": cluster.address, "nodes": 3, "shared": True, "store": str(store)}))
    given = ("launch", campaign, "--on", "ray", "--cluster", site)
    done = command(*given, cwd=tmp_path, **QUIET)  # this process ends here, and no connection stays open
    assert done.returncode == 0, done.stderr
    assert "ray job stop" in done.stdout
    again = command(*given, cwd=tmp_path, **QUIET)
    assert again.returncode == 2 and "runs there already" in again.stderr, again.stderr

    from ray.job_submission import JobSubmissionClient

    client = JobSubmissionClient(cluster.address)
    (job,) = [job for job in client.list_jobs() if "campaign" in job.metadata]
    until(lambda: client.get_job_info(job.submission_id).status.is_terminal(), "the job")
    log = client.get_job_logs(job.submission_id)
    assert client.get_job_info(job.submission_id).status == "SUCCEEDED", log
    alone = command("run", campaign, "--store", tmp_path / "alone", "--here")
    assert alone.returncode == 0, alone.stderr
    assert decided(store) == decided(tmp_path / "alone")
    assert command("verify", store).returncode == 0


@pytest.mark.slow
def test_a_node_that_sees_no_store_and_another_time_is_found_before_anything_is_submitted(
    cluster, installed, command, pattern, write, tmp_path
):
    if os.geteuid() or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("a node with file systems of its own needs rights that are missing here")
    store, late = tmp_path / "store", tmp_path / "late"
    for folder in (store, late):
        folder.mkdir()
    shift = "now = time.time; time.time = lambda: now() - 40"  # of what Ray's workers do, not of Ray itself
    (late / "sitecustomize.py").write_text(f"import sys, time\nif 'default_worker' in str(sys.orig_argv): {shift}\n")
    blind = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', store]
    cluster.start(by=blind, PYTHONPATH=f"{late}:{installed['PYTHONPATH']}")
    site = tmp_path / "cluster.yaml"
    site.write_text(yaml.safe_dump({"address": cluster.address, "nodes": 4, "shared": True, "store": str(store)}))
    done = command("launch", write(tiny.campaign(pattern)), "--on", "ray", "--cluster", site, cwd=tmp_path, **QUIET)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "40 s behind" in done.stderr and "2 nodes created the same file" in done.stderr
    assert not (tmp_path / "launched").exists()
    assert not [job for job in cluster.jobs() if "campaign" in (job.metadata or {})]
