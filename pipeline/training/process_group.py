"""Join the workers of one training: each has a part of every batch, all take the same steps. Alone, nothing is exchanged."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

ASK_EVERY = 16
"""Steps between two questions of the workers to each other whether to leave. Each question waits for all devices."""


@dataclass(frozen=True)
class Group:
    """Name worker `rank` of `size`. Where there are several, torch.distributed is initialised."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Return whether this worker reports and writes for all."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over the workers, the same on all."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def agreed(self, flag: bool, step: int, device: torch.device) -> bool:
        """Return whether `flag` is set on any worker, the same on all; asked every ASK_EVERY steps, else False."""
        if self.size == 1:
            return flag
        return step % ASK_EVERY == 0 and bool(self.total(torch.full((), float(flag), device=device, dtype=torch.float32)))

    def joined(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return the network with BatchNorm statistics over all workers' images. Call it before using the parameters.

        PyTorch has such layers for GPUs only: on CPUs each worker uses the statistics of its own part.
        """
        return nn.SyncBatchNorm.convert_sync_batchnorm(network) if self.size > 1 and device.type == "cuda" else network

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return the network to call in training: its gradients become the mean over the workers."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)

    def exchange_last(self, network: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Return a context for one part of a batch: gradients are exchanged after the last part only."""
        return network.no_sync() if isinstance(network, DistributedDataParallel) and not last else nullcontext()

    def agree(self, network: nn.Module) -> None:
        """Copy the first worker's running statistics to all."""
        if self.size > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, 0)
