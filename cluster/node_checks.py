"""Judge the facts of nodes: each check with its verdict and what to do. Pure functions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cluster.node_facts import Facts, Gpu
from pipeline.config.fields import Share

SKEW_SECONDS = 5.0
"""Greatest difference between clocks. With more, heartbeats look old and object stores may refuse signed requests."""

WORKER_BYTES = 3 << 30
"""Memory for a worker without a GPU, its share of Ray, and a stack of draws."""

GPU_BYTES = 8 << 30
"""Memory of the smallest GPU that holds a ResNet50 and a stack large enough to be fast."""

DRIVERS = {11: 450, 12: 525, 13: 580}
"""{CUDA's major version: first driver version that runs it}."""

Faults = Callable[[Facts], list[str]]
"""Return what is wrong with one node, one line for each fault."""


@dataclass(frozen=True)
class Finding:
    """Hold the result of one check: what was found, and what to do if it failed. `passed` is None for a note."""

    check: str
    passed: bool | None
    found: str
    remedy: str = ""


def findings(facts: Sequence[Facts], share: Share, nodes: int, stored: bool) -> list[Finding]:
    """Return the results of all checks.

    nodes   how many nodes are expected
    stored  whether the nodes tried to write to a store
    """
    results = [_joined(facts, nodes), _versions(facts), _clocks(facts), _gpus(facts, share), _memory(facts, share)]
    results.append(
        _check_each("shards", facts, lambda fact: list(fact.unreadable), "readable", "mount the shards' folder there")
    )
    if stored:
        results.append(_store(facts))
    return results


def _check_each(check: str, facts: Sequence[Facts], faults: Faults, fine: str, remedy: str) -> Finding:
    """Return one check that each node passes or fails alone; the first fault is shown."""
    bad = [(fact.node, fault) for fact in facts for fault in faults(fact)]
    if not bad:
        return Finding(check, True, fine)
    node, fault = bad[0]
    return Finding(check, False, f"{node}: {fault}" + (f" and {len(bad) - 1} more" if len(bad) > 1 else ""), remedy)


def _joined(facts: Sequence[Facts], nodes: int) -> Finding:
    """Check that enough nodes answered."""
    names = ", ".join(sorted({fact.node for fact in facts})[:8])
    remedy = "see in the log which nodes did not start Ray, and whether they reach the first node's port"
    return Finding("nodes", len(facts) >= nodes, f"{len(facts)} of {nodes}: {names}", remedy)


def _versions(facts: Sequence[Facts]) -> Finding:
    """Check that all nodes have the same versions of everything."""
    for name in sorted({name for fact in facts for name in fact.versions}):
        values = {fact.versions.get(name, "none"): fact.node for fact in facts}
        if len(values) > 1:
            shown = ", ".join(f"{version} on {node}" for version, node in sorted(values.items()))
            remedy = "rows would depend on the node that made them: use one environment or image on all nodes"
            return Finding("versions", False, f"{name} is {shown}", remedy)
    versions = facts[0].versions if facts else {}
    return Finding(
        "versions", True, ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "ray") if name in versions)
    )


def _clocks(facts: Sequence[Facts]) -> Finding:
    """Check that the nodes' clocks agree with the clock here."""
    worst = max(facts, key=lambda fact: abs(fact.clock_ahead), default=None)
    fine = worst is None or abs(worst.clock_ahead) <= SKEW_SECONDS
    text = f"within {SKEW_SECONDS:g} s"
    if worst and not fine:
        text = f"{worst.node} is {abs(worst.clock_ahead):.0f} s {'ahead' if worst.clock_ahead > 0 else 'behind'}"
    return Finding("clocks", fine, text, "" if fine else "set all clocks by one time server (chrony, ntp)")


def _gpus(facts: Sequence[Facts], share: Share) -> Finding:
    """Check that Ray's GPUs exist and that torch can use every GPU."""
    names = sorted({gpu.name for fact in facts for gpu in fact.gpus})
    for fact in facts:
        if share.gpus != 0 and fact.ray_gpus and fact.ray_gpus > len(fact.gpus):
            text = f"{fact.node}: Ray counts {fact.ray_gpus:g} GPUs, the driver shows {len(fact.gpus)}"
            return Finding(
                "GPUs", False, text, "workers would use the CPU: make nvidia-smi work there, or start Ray with fewer GPUs"
            )
    if not names:
        return Finding("GPUs", None, "none here; `run` refuses a campaign whose workers fit on no node")
    for fact in facts:
        for gpu in fact.gpus:
            if fault := unusable(gpu, fact.cuda, fact.architectures):
                return Finding("GPUs", False, f"{fact.node}: {fault[0]}", fault[1])
    return Finding("GPUs", True, f"{sum(len(fact.gpus) for fact in facts)}: {', '.join(names)}")


def unusable(gpu: Gpu, cuda: str | None, architectures: Sequence[str]) -> tuple[str, str] | None:
    """Return why a build of torch cannot use a GPU, and what to do; None if it can.

    cuda, architectures  as in `Facts`
    """
    wheels = "https://download.pytorch.org/whl/cu126"
    if cuda is None:
        return f"torch is a CPU build, the node has {gpu.name}", f"pip install torch torchvision --index-url {wheels}"
    if not runs(gpu.capability, architectures):
        build = f"torch's build for CUDA {cuda} ({' '.join(architectures)}) has nothing for {gpu.name}, sm_{_digits(gpu)}"
        return build, f"pip install torch torchvision --index-url {wheels}: it has sm_50 to sm_90, so V100 (sm_70) too"
    if int(gpu.driver.partition(".")[0]) < (least := DRIVERS.get(int(cuda.partition(".")[0]), 0)):
        return f"driver {gpu.driver} is too old for CUDA {cuda}", f"install driver {least} or later, or torch for an older CUDA"
    if gpu.memory < GPU_BYTES:
        return f"{gpu.name} has {gpu.memory / 2**30:.0f} GiB", f"use GPUs of {GPU_BYTES >> 30} GiB or more"
    return None


def runs(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Return whether a build has code for a GPU.

    That is machine code (sm_) of the same major version and the same or an earlier minor version, or PTX (compute_) of
    the same or an earlier version, which the driver compiles.
    """
    for name in architectures:
        kind, _, digits = name.partition("_")
        digits = digits.rstrip("af")
        major, minor = int(digits[:-1]), int(digits[-1])
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
        if kind == "compute" and (major, minor) <= capability:
            return True
    return False


def _digits(gpu: Gpu) -> str:
    """Return the compute capability in two digits: 70 for (7, 0)."""
    return "{}{}".format(*gpu.capability)


def _memory(facts: Sequence[Facts], share: Share) -> Finding:
    """Check that each node has memory for the workers that its cores and GPUs allow."""

    def faults(fact: Facts) -> Iterator[str]:
        gpus = len(fact.gpus) if fact.ray_gpus is None else fact.ray_gpus
        each = share.gpus if share.gpus is not None else float(gpus > 0)
        workers = min(gpus / each, fact.cpus / share.cpus) if each else fact.cpus / share.cpus
        workers = min(max(1, int(workers)), share.count or 1 << 20)
        if fact.memory < workers * WORKER_BYTES:
            yield f"{fact.memory / 2**30:.0f} GiB for {workers} workers"

    remedy = f"give each worker {WORKER_BYTES >> 30} GiB: a larger workers.cpus makes fewer of them"
    least = min((fact.memory for fact in facts), default=0)
    return _check_each("memory", facts, lambda fact: list(faults(fact)), f"{least / 2**30:.0f} GiB or more a node", remedy)


def _store(facts: Sequence[Facts]) -> Finding:
    """Check that exactly one node created the file that all tried to create, so that the others must have seen it."""
    if errors := [(fact.node, fact.store_error) for fact in facts if fact.store_error]:
        remedy = "give the nodes the right to write there, or use a store with create-if-absent"
        return Finding("store", False, f"{errors[0][0]}: {errors[0][1]}", remedy)
    creators = [fact.node for fact in facts if fact.created]
    if len(creators) == 1:
        return Finding("store", True, "written once, seen by all")
    text = f"{len(creators)} nodes created the same file, one after the other: {', '.join(creators[:4])}"
    return Finding("store", False, text, "each node sees a folder of its own: use a shared file system or an object store")
