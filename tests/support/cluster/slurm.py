"""A real Slurm of this user's on this machine: slurmctld and one slurmd a node, in a folder and on ports of its own."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.support import processes

PATIENCE = 600.0
LOOPBACK = """
import fcntl, socket, struct
SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP = 0x8914, 0x8916, 1
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
address = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton("192.0.2.1"))
fcntl.ioctl(control, SIOCSIFADDR, struct.pack("16s16s", b"lo:1", address))
"""
"""Switches the loopback device on, with an address of no machine beside its own: resolvers want one that is not 127.0.0.1."""
TOOLS = ("slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "sinfo", "squeue")
until = partial(processes.until, patience=PATIENCE, pause=0.2)
"""Wait as `processes.until` does, for as long as a cluster may take."""


def missing():
    """The parts of Slurm that are not installed."""
    paths = os.environ["PATH"] + os.pathsep + "/usr/sbin"
    return [tool for tool in TOOLS if shutil.which(tool, path=paths) is None]


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def offline():
    """A process whose network is the loopback device and nothing else, to be ended by the caller; None where that takes rights
    that we lack."""
    if shutil.which("nsenter") is None or subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode:
        return None
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    until(
        lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != os.readlink("/proc/self/ns/net"),
        "a network of its own",
        patience=30,
    )
    subprocess.run([*inside(holder), sys.executable, "-c", LOOPBACK], check=True)
    return holder


def inside(holder):
    """What a command begins with to run in the network of such a process."""
    return ["nsenter", f"--net=/proc/{holder.pid}/ns/net"] if holder else []


class Slurm:
    """`partitions`, the first the default, with their nodes and the type of each node's two GPUs, in a network without any way
    out where we may make one. Ends its daemons, and what they started, by process id."""

    def __init__(self, root: Path, partitions: dict[str, dict[str, str]]):
        self.root, self.partitions = root, partitions
        self.nodes = {name: gpu for nodes in partitions.values() for name, gpu in nodes.items()}
        self.file = root / "slurm.conf"
        self.environment = os.environ | {"SLURM_CONF": str(self.file), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        self.daemons: dict[str, subprocess.Popen] = {}
        self.network = None

    def __enter__(self):
        user, self.network = getpass.getuser(), offline()
        lines = [
            "ClusterName=test", "SlurmctldHost=localhost(127.0.0.1)", f"SlurmctldPort={free_port()}", f"SlurmUser={user}",
            f"SlurmdUser={user}", "AuthType=auth/none", "CredType=cred/none", "AuthInfo=cred_expire=15",
            "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory", "GresTypes=gpu", f"StateSaveLocation={self.root}/state",
            f"SlurmdSpoolDir={self.root}/spool-%n", f"SlurmctldPidFile={self.root}/ctld.pid",
            f"SlurmdPidFile={self.root}/%n.pid", f"SlurmctldLogFile={self.root}/ctld.log",
            f"SlurmdLogFile={self.root}/%n.log", "ReturnToService=2", "MpiDefault=none", "SwitchType=switch/none",
            "JobAcctGatherType=jobacct_gather/none", "AccountingStorageType=accounting_storage/none",
            "SlurmdParameters=config_overrides", "SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1",
            "KillWait=5", "SlurmdTimeout=10",
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
        for partition, nodes in self.partitions.items():
            default = "YES" if partition == next(iter(self.partitions)) else "NO"
            lines.append(f"PartitionName={partition} Nodes={','.join(nodes)} Default={default} MaxTime=INFINITE State=UP")
        (self.root / "state").mkdir()
        self.file.write_text("\n".join(lines) + "\n")
        (self.root / "gres.conf").write_text("\n".join(gres) + "\n")
        (self.root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self._start("slurmctld", "slurmctld", "-D", "-f", self.file)
        for name in self.nodes:
            self.start_node(name)
        self.restore()
        return self

    def __exit__(self, *_):
        self.cancel()
        for daemon in self.daemons.values():
            daemon.terminate()
        for daemon in self.daemons.values():
            daemon.wait(30)
        if self.network:
            self.network.kill()
            self.network.wait()

    @property
    def inside(self):
        """What a command begins with to reach the daemons."""
        return inside(self.network)

    def cancel(self):
        """Ends all jobs, and waits for that."""
        self.ask("scancel", *(line.split()[0] for line in self.ask("squeue", "-h", "-o", "%A").splitlines()))
        until(lambda: not self.ask("squeue", "-h", "-t", "running,completing", "-o", "%A").strip(), "the jobs to end")

    def restore(self):
        """Starts the nodes that are lost, and waits until all are idle."""
        for name, daemon in self.daemons.items():
            assert daemon.poll() is None, (self.root / f"{name}.out").read_text()
        for name in self.nodes.keys() - self.daemons.keys():
            self.start_node(name)
        until(lambda: self.ask("sinfo", "-h", "-N", "-o", "%t").split() == ["idle"] * len(self.nodes), "the nodes")

    def _start(self, name, *command):
        with (self.root / f"{name}.out").open("a") as file:
            command = [*self.inside, *command]
            self.daemons[name] = subprocess.Popen(command, env=self.environment, stdout=file, stderr=subprocess.STDOUT)

    def start_node(self, name):
        self._start(name, "slurmd", "-D", "-N", name, "-f", self.file)

    def lose_node(self, name):
        """Kills a node with everything that runs on it, as a power cut does; gives how many processes that were."""
        self.daemons[name].kill()
        self.daemons.pop(name).wait()
        found = self.on(name)
        for number in (signal.SIGSTOP, signal.SIGKILL):  # all at once: nobody is to see another die, and to report it
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
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
                line.startswith(b"slurmstepd") and self._logs(entry, name)
            )
            if ours and here:
                found.append(int(entry.name))
        return found

    def _logs(self, entry, name):
        """Whether a process writes the log of a node."""
        with suppress(OSError):  # it may end meanwhile
            return str(self.root / f"{name}.log") in [os.readlink(link) for link in (entry / "fd").iterdir()]
        return False

    def ask(self, *command):
        """What a command prints."""
        done = subprocess.run([*self.inside, *command], env=self.environment, capture_output=True, text=True)
        return done.stdout

    def job(self, number):
        """What Slurm says of a job, as {key: value}."""
        line = self.ask("scontrol", "show", "job", "--oneliner", str(number)).splitlines()
        return dict(part.split("=", 1) for part in line[0].split() if "=" in part) if line else {}
