"""What scenarios are played on: shards, a campaign and the rows of an undisturbed run, and a Ray cluster that can be broken."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from unittest import mock

import yaml
from ray.cluster_utils import Cluster

from pipeline.store.layout import Store
from tests.support import tiny
from tests.support.campaigns import decided
from tests.support.processes import alive, family, until

ROOT = Path(__file__).parents[2]
NODES = 2
NODE = {"object_store_memory": 80_000_000, "include_log_monitor": False}
ROW = [{"kind": "resize_pad"}, {"kind": "jpeg", "quality": [60, 90]}]
"""The parts of a composition: the campaign has a barrage, noise, and these in a row."""

TRIES = 5
"""To start Ray."""

SILENT = 8
"""Seconds without an answer until an actor is given up."""

QUICK = {"health_check_period_ms": 1000, "health_check_failure_threshold": 15}
"""Ray gives a node that does not answer up after 15 s."""

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "ray",
        "pipeline.__main__",
        "pipeline.campaigns.prepare",
        "pipeline.execution",
        "pipeline.campaigns.run",
        "pipeline.campaigns.verification.verify",
    ]
)


class Command:
    """`barrage` as a process of its own, forked from one that has imported everything: it starts in no time."""

    def __init__(self, output, *arguments, **environment):
        self._output = output
        environment = dict(os.environ) | environment
        self._process = _FORKS.Process(target=_barrage, args=(arguments, str(output), environment), daemon=True)
        self._process.start()

    @property
    def pid(self):
        return self._process.pid

    @property
    def over(self):
        return not self._process.is_alive()

    @property
    def code(self):
        """The exit code; negative for a signal."""
        return self._process.exitcode

    @property
    def said(self):
        """What it wrote so far."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def kill(self, number=signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


def _barrage(arguments, output, environment):
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1), os.dup2(handle, 2)
    os.environ.update(environment)
    sys.argv = ["barrage", *map(str, arguments)]
    from pipeline.__main__ import main

    main()


class Ground:
    """Made once for many scenarios, as Ray takes its time to start."""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.stores = self.folder / "stores"
        self.stores.mkdir()
        mounting = ["mount", "-t", "tmpfs", "-o", "size=16m", "chaos", str(self.stores)]
        self.small = os.geteuid() == 0 and subprocess.run(mounting, capture_output=True).returncode == 0
        told = {"BARRAGE_CHAOS": str(self.folder), "BARRAGE_ALLOW_MODULES": "tests", "PYTHONPATH": str(ROOT)}
        told |= {"OMP_NUM_THREADS": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
        self._environment = mock.patch.dict(os.environ, told)
        self._environment.start()
        self._cluster, self.leaving = None, []
        self._pack()
        self._quiet()
        return self

    def __exit__(self, *error):
        self.ruin()
        self._environment.stop()
        if self.small:
            subprocess.run(["umount", "-l", str(self.stores)], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _pack(self):
        shards = tiny.packed(self.folder)
        self.shards = {path: path.read_bytes() for path in sorted(shards.glob("*.tar"))}
        content = tiny.campaign(
            str(shards / "photos-{000000..000001}.tar"),
            unit_images=3,
            workers={"checkpoint_seconds": 0.05, "silent_seconds": SILENT},
        )
        content["defenses"] |= {
            "noise": {"kind": "gaussian", "sigma": 0.1},
            "row": {"kind": "compose", "parts": ROW},
            "theirs": {"kind": "module", "module": "tests.chaos.network:Jitter"},
        }
        content["cells"][0]["defense"] = ["bart2", "noise", "row", "theirs"]
        content["models"]["net"]["architecture"] = "tests.chaos.network:network"
        content["attacks"]["pgd"]["steps"] = 10
        self.campaign = self.folder / "campaign.yaml"
        self.campaign.write_text(yaml.safe_dump(content))

    def _quiet(self):
        """The undisturbed run: its rows, its units and files, its work."""
        store, before = self.folder / "quiet", self.work
        run = Command(self.folder / "quiet.txt", "run", self.campaign, "--store", store, "--here")
        until(lambda: run.over, "the undisturbed run")
        assert run.code == 0, run.said
        self.rows, self.once = decided(store), self.work - before
        self.units = sorted(Store(store).unit_files().items())

    def tell(self, name, number):
        """Tells the network a number, in every process from now on."""
        aside = self.folder / f".{name}"
        aside.write_text(str(number))
        aside.rename(self.folder / name)

    @property
    def work(self):
        """Images that went through the network so far, each draw and step counted, in all processes."""
        path = self.folder / "work"
        return path.stat().st_size if path.exists() else 0

    @property
    def address(self):
        return self._cluster.address

    @property
    def nodes(self):
        """The nodes for workers that are alive, and stay."""
        return [node for node in self._cluster.worker_nodes if alive(raylet(node)) and node not in self.leaving]

    @property
    def head(self):
        return self._cluster.head_node

    def heal(self):
        """A cluster of a head without room for workers, and as many nodes of one core as there should be."""
        for attempt in range(TRIES):
            try:
                self._heal()
                return
            except Exception:  # Ray gives itself 30 s, which a busy machine may not
                if attempt + 1 == TRIES:
                    raise
                self.ruin()

    def _heal(self):
        if self._cluster is None or not all(alive(pid) for pid in self.heart):
            self.ruin()
            head = NODE | {"num_cpus": 0, "include_dashboard": False, "_system_config": QUICK}
            self._cluster = Cluster(initialize_head=True, head_node_args=head)
        for node in [node for node in self._cluster.worker_nodes if node not in self.nodes] + self.nodes[NODES:]:
            self._cluster.remove_node(node, allow_graceful=False)
        while len(self.nodes) < NODES:
            self.add()

    @property
    def heart(self):
        """The processes without which there is no cluster: the head's raylet, and the GCS."""
        return [raylet(self.head), self.head.all_processes["gcs_server"][0].process.pid]

    def add(self):
        """A node more."""
        return self._cluster.add_node(num_cpus=1, **NODE)

    def ruin(self):
        """Ends the cluster, however much of it is left."""
        cluster, self._cluster = self._cluster, None
        mine = [pid for pid, line in family(os.getpid()).items() if "/ray/" in line or line.startswith("ray::")]
        for pid in mine:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if cluster is not None:
            for node in [*cluster.worker_nodes, *([cluster.head_node] if cluster.head_node else [])]:
                node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        until(lambda: not any(map(alive, mine)), "Ray to end")


def raylet(node):
    """The process of a node."""
    return node.all_processes["raylet"][0].process.pid
