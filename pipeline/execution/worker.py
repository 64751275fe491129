"""Describe the process that a worker runs in, and what its errors mean."""

import ctypes
import platform

import torch

from pipeline.errors import ShardUnusable


def worker_name(host: str, pid: int) -> str:
    """Return the name of a worker: PID@HOST."""
    return f"{pid}@{host}"


def device_of(gpus: float | None) -> torch.device:
    """Return the device of a worker that was given `gpus` GPUs: one of them, or the CPU if there is none.

    None: they were not shared out, so all that this process sees are its own. A worker that was given none may still see some.
    """
    return torch.device("cuda" if gpus != 0 and torch.cuda.is_available() else "cpu")


MALLOPT = {-8: 1, -3: 32 * 2**20, -1: 2**30}
"""Settings of glibc's malloc by number: one arena for all threads; blocks below 32 MB, its limit, from the heap; a heap that
keeps up to 1 GB. See `man mallopt`: M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD."""


def keep_memory() -> None:
    """Let this process keep the memory that a pass gives back, for the next pass: the system would clear each page of it anew.

    The most that it ever holds stays the same. Other libraries of C than glibc are left as they are.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for setting, value in MALLOPT.items():
            libc.mallopt(setting, value)


def shard_fault(error: BaseException) -> str:
    """Return why a shard can't be used, if an attempt failed for that reason; else an empty string."""
    return str(error) if isinstance(error, ShardUnusable) else ""


def gpu_is_broken(error: BaseException) -> bool:
    """Return whether an error leaves this process without a usable GPU. Running out of GPU memory does not."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return False
    fatal = getattr(torch, "AcceleratorError", ()), getattr(torch.cuda, "DeferredCudaCallError", ())  # not in every release
    return isinstance(error, fatal) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))
