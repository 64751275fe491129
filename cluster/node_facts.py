"""Collect facts of this machine: cores, memory, GPUs, versions, and whether it can read the shards and write the store."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline import provenance
from pipeline.errors import StorageError
from pipeline.storage import urls
from pipeline.store.layout import Store

MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""A container's memory limit: bytes, or `max`."""

MOST_SHARDS = 64
"""Maximum of shards that a node opens, spread evenly over all of them."""


@dataclass(frozen=True)
class Gpu:
    """Describe a GPU as the driver reports it: compute capability such as (7, 0), memory in bytes."""

    name: str
    capability: tuple[int, int]
    memory: int
    driver: str


@dataclass(frozen=True)
class Request:
    """Hold what a node should try: open these shards, and create the file `token` in this store."""

    shards: Sequence[str] = ()
    store: str | None = None
    token: str = ""


@dataclass(frozen=True)
class Facts:
    """Hold the facts of one node."""

    node: str
    cpus: float
    """Cores that may be used."""
    memory: int
    """Bytes that may be used."""
    gpus: tuple[Gpu, ...]
    """GPUs that the driver reports."""
    cuda: str | None
    """CUDA version of torch's build; None for a CPU build."""
    architectures: tuple[str, ...]
    """GPU architectures of torch's build, such as sm_70 and compute_90; empty for a CPU build."""
    versions: dict[str, str]
    unreadable: tuple[str, ...]
    """One line for each shard that cannot be read."""
    store_error: str
    """Why the store cannot be written; empty if it can."""
    created: bool
    """Whether this node was the one that created the file in the store."""
    ray_gpus: float | None = None
    """GPUs that Ray counts on the node; None without a Ray cluster."""
    clock_ahead: float = 0.0
    """Seconds by which the node's clock is ahead of this machine's."""


def probe(request: Request) -> Facts:
    """Return the facts of this machine. The caller must remove the file that this creates in the store."""
    unreadable = tuple(error for path in _sample(request.shards) if (error := _read_error(path)))
    store_error, created = _create(request)
    return Facts(
        node=socket.gethostname(),
        cpus=len(os.sched_getaffinity(0)),
        memory=memory(),
        gpus=tuple(gpus()),
        cuda=torch.version.cuda,
        architectures=_architectures(),
        versions=json.loads(provenance.versions()) | {"barrage": provenance.commit()},
        unreadable=unreadable,
        store_error=store_error,
        created=created,
    )


def memory() -> int:
    """Return the bytes of this machine's memory, or the container's limit if that is lower."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = MEMORY_LIMIT.read_text().strip()
    except OSError:
        return whole
    return min(whole, int(limit)) if limit.isdigit() else whole


def gpus() -> list[Gpu]:
    """Return the GPUs that the driver reports, whether this process may use them or not."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=compute_cap,memory.total,driver_version,name", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []
    reported = []
    for line in lines:
        capability, memory, driver, name = (part.strip() for part in line.split(",", 3))
        major, _, minor = capability.partition(".")
        reported.append(Gpu(name, (int(major), int(minor)), int(memory) << 20, driver))
    return reported


def _architectures() -> tuple[str, ...]:
    """Return the architectures of torch's build; torch.cuda.get_arch_list() returns none on a machine without a GPU."""
    flags = getattr(torch._C, "_cuda_getArchFlags", lambda: None)()
    return tuple((flags or "").split())


def _sample(paths: Sequence[str]) -> Sequence[str]:
    """Return at most MOST_SHARDS paths, spread evenly."""
    step = -(-len(paths) // MOST_SHARDS) or 1
    return paths[::step]


def _read_error(path: str) -> str:
    """Return why a shard cannot be read; empty if it can."""
    folder, name = urls.split(path)
    try:
        with urls.at(folder, urls.ANSWER_SECONDS).open(name) as file:
            return "" if file.read(512) else f"{path}: it is empty"
    except OSError as error:
        return f"{path}: {error.strerror or 'No such file or directory'}"
    except StorageError as error:
        return str(error)


def _create(request: Request) -> tuple[str, bool]:
    """Return why the store cannot be written (empty if it can), and whether this machine was the one that created the file."""
    if request.store is None:
        return "", False
    data = request.token.encode()
    try:
        store = Store(request.store)
        created = store.create(request.token, data)
        if store.create(request.token, data):
            return "a file that exists could be created a second time", created
        if store.read(request.token) != data:
            return "reading returns other bytes than were written", created
    except Exception as error:  # each kind of store raises its own
        return " ".join(f"{type(error).__name__}: {error}".split())[:300], False
    return "", created
