"""A real Slurm of this user's on this machine: slurmctld and one slurmd a node, in a folder and on ports of its own."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

PATIENCE = 240.0
TOOLS = ("slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "sinfo", "squeue")


def missing():
    """The parts of Slurm that are not installed."""
    paths = os.environ["PATH"] + os.pathsep + "/usr/sbin"
    return [tool for tool in TOOLS if shutil.which(tool, path=paths) is None]


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def until(condition, what, patience=PATIENCE):
    """Waits for a condition and gives what it gives."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.2)
    raise AssertionError(f"waited {patience:.0f} s for {what}")


class Slurm:
    """`nodes` by name with their type of GPU, two of them each. Ends its daemons, and what they started, by process id."""

    def __init__(self, root: Path, nodes: dict[str, str]):
        self.root, self.nodes = root, nodes
        self.file = root / "slurm.conf"
        self.environment = os.environ | {"SLURM_CONF": str(self.file), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        self.daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self):
        user = getpass.getuser()
        lines = [
            "ClusterName=test", "SlurmctldHost=localhost(127.0.0.1)", f"SlurmctldPort={free_port()}", f"SlurmUser={user}",
            f"SlurmdUser={user}", "AuthType=auth/none", "CredType=cred/none", "AuthInfo=cred_expire=3",
            "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory", "GresTypes=gpu", f"StateSaveLocation={self.root}/state",
            f"SlurmdSpoolDir={self.root}/spool-%n", f"SlurmctldPidFile={self.root}/ctld.pid",
            f"SlurmdPidFile={self.root}/%n.pid", f"SlurmctldLogFile={self.root}/ctld.log",
            f"SlurmdLogFile={self.root}/%n.log", "ReturnToService=2", "MpiDefault=none", "SwitchType=switch/none",
            "JobAcctGatherType=jobacct_gather/none", "AccountingStorageType=accounting_storage/none",
            "SlurmdParameters=config_overrides", "SchedulerParameters=sched_interval=1,batch_sched_delay=0", "KillWait=10",
            "SlurmdTimeout=10",
        ]  # fmt: skip
        gres = []
        for name, gpu in self.nodes.items():
            (self.root / f"spool-{name}").mkdir(parents=True)
            for i in range(2):
                (self.root / f"gpu-{name}-{i}").touch()
            gres.append(f"NodeName={name} Name=gpu Type={gpu} File={self.root}/gpu-{name}-[0-1]")
            lines.append(
                f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={free_port()} CPUs=4 Boards=1 "
                f"SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=16000 Gres=gpu:{gpu}:2"
            )
        lines.append("PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP")
        (self.root / "state").mkdir()
        self.file.write_text("\n".join(lines) + "\n")
        (self.root / "gres.conf").write_text("\n".join(gres) + "\n")
        (self.root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self._start("slurmctld", "slurmctld", "-D", "-f", self.file)
        for name in self.nodes:
            self.start_node(name)
        until(lambda: self.ask("sinfo", "-h", "-N", "-o", "%t").split() == ["idle"] * len(self.nodes), "the nodes")
        return self

    def __exit__(self, *_):
        self.ask("scancel", *(line.split()[0] for line in self.ask("squeue", "-h", "-o", "%A").splitlines()))
        until(lambda: not self.ask("squeue", "-h", "-t", "running,completing", "-o", "%A").strip(), "the jobs to end", 30)
        for daemon in self.daemons.values():
            daemon.terminate()
        for daemon in self.daemons.values():
            daemon.wait(30)

    def _start(self, name, *command):
        with (self.root / f"{name}.out").open("a") as file:
            self.daemons[name] = subprocess.Popen(command, env=self.environment, stdout=file, stderr=subprocess.STDOUT)

    def start_node(self, name):
        self._start(name, "slurmd", "-D", "-N", name, "-f", self.file)

    def lose_node(self, name):
        """Kills a node with everything that runs on it, as a power cut does; gives how many processes that were."""
        self.daemons[name].kill()
        self.daemons.pop(name).wait()
        found = self.on(name)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def on(self, name):
        """The processes of jobs on a node: its step daemons, and what carries the node's name in its environment."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            ours = f"SLURM_CONF={self.file}".encode() in environment
            here = f"SLURMD_NODENAME={name}".encode() in environment or (
                line.startswith(b"slurmstepd") and self._spool(entry, name)
            )
            if ours and here:
                found.append(int(entry.name))
        return found

    def _spool(self, entry, name):
        try:
            return (entry / "cwd").resolve() == self.root / f"spool-{name}"
        except OSError:
            return False

    def ask(self, *command):
        """What a command prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return done.stdout

    def job(self, number):
        """What Slurm says of a job, as {key: value}."""
        line = self.ask("scontrol", "show", "job", "--oneliner", str(number)).splitlines()
        return dict(part.split("=", 1) for part in line[0].split() if "=" in part) if line else {}
