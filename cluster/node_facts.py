"""What a machine says of itself before a campaign runs on it: GPUs, memory, versions, shards and store as seen from there."""

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

LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Of a container's memory: bytes, or `max`."""

SHARDS = 64
"""Shards that a node opens at most, spread over all of them."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as the driver sees it: its compute capability such as (7, 0), memory in bytes."""

    name: str
    capability: tuple[int, int]
    memory: int
    driver: str


@dataclass(frozen=True)
class Wanted:
    """What a node is asked to try: shards by path, and a store with the name of a file to create there."""

    shards: Sequence[str] = ()
    store: str | None = None
    token: str = ""


@dataclass(frozen=True)
class Facts:
    """What was found. `cpus` and `memory` (bytes) are what may be used of it, `gpus` what the driver shows; `architectures` are
    those that torch was built for, such as sm_70 and compute_90, none on a build without CUDA."""

    node: str
    cpus: float
    memory: int
    gpus: tuple[Gpu, ...]
    cuda: str | None
    architectures: tuple[str, ...]
    versions: dict[str, str]
    unreadable: tuple[str, ...]
    store_error: str
    created: bool
    lent: float | None = None
    """GPUs that Ray was told of there; None where no Ray was asked."""
    ahead: float = 0.0
    """Seconds that its clock is ahead of the asker's."""


def probe(wanted: Wanted) -> Facts:
    """The facts of this machine. The file that is created in the store is for the caller to remove."""
    unreadable = tuple(found for path in _spread(wanted.shards) if (found := _unreadable(path)))
    error, created = _create(wanted)
    return Facts(
        node=socket.gethostname(),
        cpus=len(os.sched_getaffinity(0)),
        memory=memory(),
        gpus=tuple(gpus()),
        cuda=torch.version.cuda,
        architectures=_architectures(),
        versions=json.loads(provenance.versions()) | {"barrage": provenance.commit()},
        unreadable=unreadable,
        store_error=error,
        created=created,
    )


def memory() -> int:
    """Bytes of this machine, or of the container where that has fewer."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = LIMIT.read_text().strip()
    except OSError:
        return whole
    return min(whole, int(limit)) if limit.isdigit() else whole


def gpus() -> list[Gpu]:
    """The GPUs that the driver shows, whether this process may use them or not."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=compute_cap,memory.total,driver_version,name", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in lines:
        capability, memory, driver, name = (part.strip() for part in line.split(",", 3))
        major, _, minor = capability.partition(".")
        found.append(Gpu(name, (int(major), int(minor)), int(memory) << 20, driver))
    return found


def _architectures() -> tuple[str, ...]:
    """Known without a GPU in sight, where torch.cuda.get_arch_list() says nothing."""
    flags = getattr(torch._C, "_cuda_getArchFlags", lambda: None)()
    return tuple((flags or "").split())


def _spread(paths: Sequence[str]) -> Sequence[str]:
    step = -(-len(paths) // SHARDS) or 1
    return paths[::step]


def _unreadable(path: str) -> str:
    """Why a shard can not be read, or nothing."""
    folder, name = urls.split(path)
    try:
        with urls.at(folder, urls.DOOR).open(name) as file:
            return "" if file.read(512) else f"{path}: it is empty"
    except OSError as error:
        return f"{path}: {error.strerror or 'No such file or directory'}"
    except StorageError as error:
        return str(error)


def _create(wanted: Wanted) -> tuple[str, bool]:
    """Why the store can not be written, and whether this machine was the one that created the file."""
    if wanted.store is None:
        return "", False
    data = wanted.token.encode()
    try:
        store = Store(wanted.store)
        created = store.create(wanted.token, data)
        if store.create(wanted.token, data):
            return "a file that is there could be created again", created
        if store.read(wanted.token) != data:
            return "what was written is not what is read", created
    except Exception as error:  # of any kind of store
        return " ".join(f"{type(error).__name__}: {error}".split())[:300], False
    return "", created
