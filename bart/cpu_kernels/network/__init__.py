"""Compute on a CPU what a frozen network repeats for every gradient: the values of torch, bit for bit, in less time."""

from bart.cpu_kernels.network.layers import with_fast_layers

__all__ = ["with_fast_layers"]
