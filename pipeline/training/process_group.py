"""The workers of one training: each has a part of every batch, all take the same steps. Alone, nothing is exchanged."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

ASK_EVERY = 16
"""Steps between two times that workers ask each other whether to leave: each is a wait for all devices."""


@dataclass(frozen=True)
class Group:
    """Worker `rank` of `size`; torch.distributed is ready where there are several."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this worker speaks and writes for all."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over the workers, the same on all."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def agreed(self, flag: bool, step: int, device: torch.device) -> bool:
        """Whether any worker says so; asked now and then only, and the same on all."""
        if self.size == 1:
            return flag
        return step % ASK_EVERY == 0 and bool(self.total(torch.full((), float(flag), device=device)))

    def joined(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network with BatchNorm statistics of all workers' images, to be called before its parameters are handed out.

        Torch has such norms for GPUs only: on CPUs each worker goes by its own part's statistics.
        """
        return nn.SyncBatchNorm.convert_sync_batchnorm(network) if self.size > 1 and device.type == "cuda" else network

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network as it is called for training: its gradients become the mean over the workers."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)

    def apart(self, network: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Around all but the last part of a batch: gradients are exchanged once."""
        return network.no_sync() if isinstance(network, DistributedDataParallel) and not last else nullcontext()

    def agree(self, network: nn.Module) -> None:
        """The first worker's running statistics for all."""
        if self.size > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, 0)
