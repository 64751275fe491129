"""What the facts of nodes mean: each check with its verdict and what to do about it. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cluster.node_facts import Facts, Gpu
from pipeline.config.fields import Share

SKEW_SECONDS = 5.0
"""Between clocks; more, and heartbeats look old and signed requests to object stores may be refused."""

WORKER_BYTES = 3 << 30
"""Memory of a worker without a GPU and the Ray beside it, with room for a stack of draws."""

GPU_BYTES = 8 << 30
"""Of the smallest GPU that holds a ResNet50 and a stack worth its while."""

DRIVERS = {11: 450, 12: 525, 13: 580}
"""CUDA's major version, and the first driver that runs it."""

Faults = Callable[[Facts], list[str]]
"""What is wrong with one node."""


@dataclass(frozen=True)
class Finding:
    """A check: what was found, and what to do if it did not pass. `passed` is None for a note."""

    check: str
    passed: bool | None
    found: str
    remedy: str = ""


def findings(facts: Sequence[Facts], share: Share, nodes: int, stored: bool) -> list[Finding]:
    """All checks of nodes, `nodes` of them expected; `stored` says whether they were asked to write to a store."""
    found = [_joined(facts, nodes), _versions(facts), _clocks(facts), _gpus(facts, share), _memory(facts, share)]
    found += [_one("shards", facts, lambda fact: list(fact.unreadable), "readable", "mount the folder of the shards there")]
    if stored:
        found.append(_store(facts))
    return found


def _one(check: str, facts: Sequence[Facts], faults: Faults, fine: str, remedy: str) -> Finding:
    """One check that every node passes or not; the first fault is shown."""
    bad = [(fact.node, fault) for fact in facts for fault in faults(fact)]
    if not bad:
        return Finding(check, True, fine)
    return Finding(check, False, f"{bad[0][0]}: {bad[0][1]}" + (f" and {len(bad) - 1} more" if len(bad) > 1 else ""), remedy)


def _joined(facts: Sequence[Facts], nodes: int) -> Finding:
    names = ", ".join(sorted({fact.node for fact in facts})[:8])
    remedy = "look into the log for nodes whose Ray did not start, and whether they reach the first one's port"
    return Finding("nodes", len(facts) >= nodes, f"{len(facts)} of {nodes}: {names}", remedy)


def _versions(facts: Sequence[Facts]) -> Finding:
    for name in sorted({name for fact in facts for name in fact.versions}):
        values = {fact.versions.get(name, "none"): fact.node for fact in facts}
        if len(values) > 1:
            shown = ", ".join(f"{version} on {node}" for version, node in sorted(values.items()))
            remedy = "rows would depend on who made them: use one environment or image on all nodes"
            return Finding("versions", False, f"{name} is {shown}", remedy)
    versions = facts[0].versions if facts else {}
    return Finding(
        "versions", True, ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "ray") if name in versions)
    )


def _clocks(facts: Sequence[Facts]) -> Finding:
    worst = max(facts, key=lambda fact: abs(fact.ahead), default=None)
    fine = worst is None or abs(worst.ahead) <= SKEW_SECONDS
    text = f"within {SKEW_SECONDS:g} s"
    if worst and not fine:
        text = f"{worst.node} is {abs(worst.ahead):.0f} s {'ahead' if worst.ahead > 0 else 'behind'}"
    return Finding("clocks", fine, text, "" if fine else "let the nodes take their time from one server (chrony, ntp)")


def _gpus(facts: Sequence[Facts], share: Share) -> Finding:
    names = sorted({gpu.name for fact in facts for gpu in fact.gpus})
    for fact in facts:
        if share.gpus != 0 and fact.lent and fact.lent > len(fact.gpus):
            said = f"{fact.node}: Ray was told of {fact.lent:g} GPUs, the driver shows {len(fact.gpus)}"
            return Finding(
                "GPUs", False, said, "workers would use the CPU: see that nvidia-smi works there, or tell Ray of fewer"
            )
    if not names:
        return Finding("GPUs", None, "none here; `run` refuses what no node can hold")
    for fact in facts:
        for gpu in fact.gpus:
            if fault := unusable(gpu, fact.cuda, fact.architectures):
                return Finding("GPUs", False, f"{fact.node}: {fault[0]}", fault[1])
    return Finding("GPUs", True, f"{sum(len(fact.gpus) for fact in facts)}: {', '.join(names)}")


def unusable(gpu: Gpu, cuda: str | None, architectures: Sequence[str]) -> tuple[str, str] | None:
    """Why a build of torch can not use a GPU, and what to do, or None."""
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
    """Whether a build has code for a GPU: machine code of its own major version and no later minor one, or PTX, older or
    equal, which the driver compiles."""
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
    return "{}{}".format(*gpu.capability)


def _memory(facts: Sequence[Facts], share: Share) -> Finding:
    def faults(fact: Facts) -> Iterator[str]:
        gpus = len(fact.gpus) if fact.lent is None else fact.lent
        each = share.gpus if share.gpus is not None else float(gpus > 0)
        workers = min(gpus / each, fact.cpus / share.cpus) if each else fact.cpus / share.cpus
        workers = min(max(1, int(workers)), share.count or 1 << 20)
        if fact.memory < workers * WORKER_BYTES:
            yield f"{fact.memory / 2**30:.0f} GiB for {workers} workers"

    remedy = f"give each worker {WORKER_BYTES >> 30} GiB: a larger workers.cpus makes fewer of them"
    least = min((fact.memory for fact in facts), default=0)
    return _one("memory", facts, lambda fact: list(faults(fact)), f"{least / 2**30:.0f} GiB or more a node", remedy)


def _store(facts: Sequence[Facts]) -> Finding:
    """Each node tried to create the same file: one must have won, and all the others must have seen it."""
    if errors := [(fact.node, fact.store_error) for fact in facts if fact.store_error]:
        remedy = "give the nodes the right to write there, or take a store that knows create-if-absent"
        return Finding("store", False, f"{errors[0][0]}: {errors[0][1]}", remedy)
    winners = [fact.node for fact in facts if fact.created]
    if len(winners) == 1:
        return Finding("store", True, "written once, seen by all")
    said = f"{len(winners)} nodes created the same file, one after the other: {', '.join(winners[:4])}"
    return Finding("store", False, said, "the nodes see folders of their own: use a shared file system or an object store")
