"""Make all random numbers: from keys and counters, without a generator and without state, the same on every device.

A key is a 64-bit integer. Everything random about one image follows from its key by integer hashing. So it does not depend on
the batch, the worker, a restart or the order of calls.

    key("seed", 7, "bart5", "ILSVRC2012_val_00000001")   one image of one cell (host, BLAKE2b)
    fold(keys, step)                                       child keys (device, SplitMix64)
    uniform(keys, "sigma", 0.1, 3.0)                       a parameter, (n,)
    field(seeds, (3, 224, 224))                            a pixel field, (n, 3, 224, 224)

Sources: SplitMix64, Steele, Lea, Flood, OOPSLA 2014; `lowbias32` by C. Wellons for the 32-bit fields.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from bart import dispatch


def _signed(value: int, bits: int = 64) -> int:
    """Return the two's-complement reading of an unsigned integer, as torch's integers need it."""
    return value - (1 << bits) if value >> (bits - 1) else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def key(*parts: int | str) -> int:
    """Return a key made of names and numbers, on the host. Distinct sequences of parts give distinct keys (up to a chance of
    2^-64).

    Raises ValueError if a part holds a NUL character.
    """
    if any("\0" in str(part) for part in parts):
        raise ValueError(f"key parts {parts!r} hold a NUL character, which separates the parts: remove it")
    text = "\0".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


@lru_cache(maxsize=4096)
def _name(name: str) -> int:
    """Return the number by which a name is hashed."""
    return key("name", name)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shift to the right and fill with zeros; torch's own shift repeats the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """Hash int64 by the finaliser of SplitMix64."""
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def fold(keys: Tensor, data: Tensor | int | str) -> Tensor:
    """Return child keys: `keys` (n,) int64 hashed with a number, a name, or a tensor that broadcasts against them."""
    if isinstance(data, str):
        data = _name(data)
    if isinstance(data, int) and dispatch.hashing(keys):
        return dispatch.hashed("fold")(keys, _signed(data % (1 << 64)))
    return _mix(keys + (data + 1) * _GOLDEN if isinstance(data, Tensor) else keys + _signed((data + 1) * _GOLDEN % (1 << 64)))


def bits(keys: Tensor, name: str, shape: tuple[int, ...] = ()) -> Tensor:
    """Return 64 random bits per image and element, (n, *shape) int64, from `keys` (n,)."""
    if dispatch.hashing(keys):
        return dispatch.hashed("bits")(keys, _name(name), shape)
    counter = torch.arange(math.prod(shape), device=keys.device)
    return fold(fold(keys, name)[:, None], counter).reshape(len(keys), *shape)


def uniform(keys: Tensor, name: str, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = ()) -> Tensor:
    """Return uniform numbers in [low, high], (n, *shape) float32: 2^24 equal steps, of which the last may round to `high`."""
    if dispatch.hashing(keys):
        return dispatch.hashed("uniform")(keys, _name(name), low, high, shape)
    return _shift(bits(keys, name, shape), 40).float() * ((high - low) * 2.0**-24) + low


def integers(keys: Tensor, name: str, low: int | Tensor, high: int | Tensor, shape: tuple[int, ...] = ()) -> Tensor:
    """Return uniform integers in low..high, both ends included, (n, *shape) int64. The ends may be tensors that broadcast."""
    if dispatch.hashing(keys):
        return dispatch.hashed("integers")(keys, _name(name), low, high, shape)
    return ((_shift(bits(keys, name, shape), 33) * (high - low + 1)) >> 31) + low


def coin(keys: Tensor, name: str, shape: tuple[int, ...] = ()) -> Tensor:
    """Return fair coins, (n, *shape) bool."""
    if dispatch.hashing(keys):
        return dispatch.hashed("coin")(keys, _name(name), shape)
    return bits(keys, name, shape) < 0


def order(keys: Tensor, name: str, count: int) -> Tensor:
    """Return a uniformly random order of `count` items per image, (n, count) int64."""
    if dispatch.hashing(keys):
        return dispatch.hashed("order")(keys, _name(name), count)
    return bits(keys, name, (count,)).argsort(dim=1, stable=True)


_LOWBIAS_1, _LOWBIAS_2 = _signed(0x7FEB352D, 32), _signed(0x846CA68B, 32)


def _mix32_(x: Tensor, scratch: Tensor) -> Tensor:
    """Hash int32 by `lowbias32` in place; `scratch` has the same shape."""
    for bits, mask, factor in ((16, 0xFFFF, _LOWBIAS_1), (15, 0x1FFFF, _LOWBIAS_2)):
        x.bitwise_xor_(torch.bitwise_right_shift(x, bits, out=scratch).bitwise_and_(mask)).mul_(factor)
    return x.bitwise_xor_(torch.bitwise_right_shift(x, 16, out=scratch).bitwise_and_(0xFFFF))


def field(seeds: Tensor, shape: tuple[int, ...], stream: int = 0) -> Tensor:
    """Return uniform numbers in [0, 1) per pixel, (n, *shape) float32, from one seed per image, (n,) int64, in 32-bit
    arithmetic.

    Fields of different `stream` are independent.
    """
    seeds = fold(seeds, stream)
    low, high = seeds.int()[:, None], _shift(seeds, 32).int()[:, None]
    x = torch.arange(math.prod(shape), device=seeds.device, dtype=torch.int32) ^ low
    scratch = torch.empty_like(x)
    x = _mix32_(_mix32_(x, scratch).add_(high), scratch)
    return x.bitwise_right_shift_(8).bitwise_and_(0xFFFFFF).float().mul_(2.0**-24).reshape(len(seeds), *shape)


def normal_field(seeds: Tensor, shape: tuple[int, ...], stream: int = 0) -> Tensor:
    """Return N(0, 1) numbers per pixel, (n, *shape) float32, from one seed per image. Source: Box and Muller, 1958."""
    radius = torch.sqrt(-2.0 * torch.log1p(-field(seeds, shape, 2 * stream)))
    return radius * torch.cos((2.0 * math.pi) * field(seeds, shape, 2 * stream + 1))


@dataclass(frozen=True)
class Mirror:
    """Hold an int64 tensor twice: on the host, which controls, and on the device, which computes.

    Both sides go through the same integer arithmetic. So the host knows how many images meet which transform without waiting
    for the device, and nothing is copied inside a step. On a CPU both sides are one tensor.
    """

    host: Tensor
    device: Tensor

    @staticmethod
    def of(values: Tensor, device: torch.device | str) -> "Mirror":
        """Return the mirror of `values`, copied to `device`."""
        host, kind = values.cpu(), torch.device(device).type
        if kind == "cpu":
            return Mirror(host, host)
        source = host.pin_memory() if kind == "cuda" else host  # a copy from pageable memory waits for the device
        return Mirror(host, source.to(device, non_blocking=True))

    def map(self, function: Callable[..., Tensor], *others: "Mirror | int | str") -> "Mirror":
        """Return the mirror of `function(self, *others)`, computed on both sides."""
        host = function(self.host, *(other.host if isinstance(other, Mirror) else other for other in others))
        if self.device is self.host:
            return Mirror(host, host)
        return Mirror(host, function(self.device, *(other.device if isinstance(other, Mirror) else other for other in others)))
