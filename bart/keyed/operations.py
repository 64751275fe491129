"""List torch's random operations, and answer each from keys: the table of what a stranger's module may draw.

torch marks them by the tag `nondeterministic_seeded`. The names are those of its operators, without the `_` of those that
write into their first argument.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bart.keyed import numbers
from bart.keyed.numbers import NotByRow

Arguments = Mapping[str, Any]
"""The arguments of an operation by the names of its schema, with its defaults."""


class Target(NamedTuple):
    """Describe the tensor that an operation draws: `like` gives what the others leave open, and the strides."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    like: Tensor | None


Draw = Callable[[Tensor, Target, Arguments], Tensor]
"""(keys (n,), target, arguments) -> values of the target's shape. Raises NotByRow."""


def _bernoulli(keys: Tensor, target: Target, given: Arguments) -> Tensor:
    chance = given.get("p")
    return numbers.uniform(keys, target.shape) < (given["self"] if chance is None else chance)


def _normal(keys: Tensor, target: Target, given: Arguments) -> Tensor:
    return numbers.normal(keys, target.shape, target.dtype) * given["std"] + given["mean"]


def _integers(keys: Tensor, target: Target, given: Arguments) -> Tensor:
    return numbers.integers(keys, target.shape, int(given.get("low", 0)), int(given["high"]))


def _random(keys: Tensor, target: Target, given: Arguments) -> Tensor:
    """Draw integers of all that the type holds exactly, where no end is given."""
    low, high, kind = given.get("from", 0), given.get("to"), target.dtype
    if high is None and kind.is_floating_point:
        high = 2 ** {torch.float64: 53, torch.float16: 11, torch.bfloat16: 8}.get(kind, 24) + 1
    elif high is None:
        high = 2 if kind == torch.bool else torch.iinfo(kind).max + 1
    return numbers.integers(keys, target.shape, low, high)


def _geometric(keys: Tensor, target: Target, given: Arguments) -> Tensor:
    wait = -numbers.exponential(keys, target.shape, torch.float64)
    return (wait / torch.log1p(torch.tensor(-float(given["p"]), dtype=torch.float64, device=wait.device))).ceil().clamp_min(1)


DRAWS: Mapping[str, Draw] = {
    "rand": lambda keys, target, given: numbers.uniform(keys, target.shape, target.dtype),
    "randn": lambda keys, target, given: numbers.normal(keys, target.shape, target.dtype),
    "uniform": lambda keys, target, given: (
        numbers.uniform(keys, target.shape, target.dtype) * (given["to"] - given["from"]) + given["from"]
    ),
    "normal": _normal,
    "bernoulli": _bernoulli,
    "exponential": lambda keys, target, given: numbers.exponential(keys, target.shape, target.dtype) / given["lambd"],
    "cauchy": lambda keys, target, given: (
        torch.tan(torch.pi * (numbers.uniform(keys, target.shape, torch.float64) - 0.5)) * given["sigma"] + given["median"]
    ),
    "log_normal": lambda keys, target, given: _normal(keys, target, given).exp(),
    "geometric": _geometric,
    "randint": _integers,
    "random": _random,
    "randperm": lambda keys, target, given: numbers.order(keys, given["n"]),
    "multinomial": lambda keys, target, given: numbers.chosen(keys, given["self"], given["num_samples"], given["replacement"]),
}
"""Distributions whose numbers are counter-based, by the operation's name without `_like` and `_functional`."""


def _relu(keys: Tensor, given: Arguments) -> Any:
    """Answer `rrelu_with_noise`: a slope for each value below 0, which the backward pass reads in `noise`."""
    x, noise = given["self"], given["noise"]
    slope = numbers.uniform(keys, tuple(x.shape), x.dtype) * (given["upper"] - given["lower"]) + given["lower"]
    slope = torch.where(x > 0, 1, slope)
    noise.copy_(slope)
    return x * slope, slope


def _dropout(keys: Tensor, given: Arguments) -> Any:
    """Answer `native_dropout` and `_fused_dropout`: the values, and the mask."""
    x = given.get("input", given.get("self"))
    assert isinstance(x, Tensor)
    share = 1 - given["p"] if "train" in given else given["p"]  # the fused one is given what it keeps
    kept = numbers.uniform(keys, tuple(x.shape)) < share
    return x * kept / share if share else x * 0, kept if "train" in given else kept.to(torch.uint8)


def _row_by_row(operation: Callable[..., Tensor]) -> Callable[[Tensor, Arguments], Tensor]:
    """Return the answer of an operation that torch itself computes, row by row, with a generator seeded from the row's key."""

    def answer(keys: Tensor, given: Arguments) -> Tensor:
        tensors = {name: value for name, value in given.items() if isinstance(value, Tensor)}
        if len(keys) > 1 and any(value.shape[:1] != keys.shape for value in tensors.values()):
            raise NotByRow(next(iter(tensors.values())).shape)
        on_host = {name: value.cpu().chunk(len(keys)) for name, value in tensors.items()}
        rows = []
        for i, seed in enumerate(keys.tolist()):
            own = {name: parts[i] for name, parts in on_host.items()}
            rows.append(operation(**{**given, **own, "generator": torch.Generator().manual_seed(seed)}))
        return torch.cat(rows).to(next(iter(tensors.values())).device) if len(rows) > 1 else rows[0].to(keys.device)

    return answer


WHOLE: Mapping[str, Callable[[Tensor, Arguments], Any]] = {
    "rrelu_with_noise": lambda keys, given: _relu(keys, given)[0],
    "rrelu_with_noise_functional": _relu,
    "native_dropout": _dropout,
    "_fused_dropout": _dropout,
    "poisson": _row_by_row(torch.ops.aten.poisson.default),
    "binomial": _row_by_row(torch.ops.aten.binomial.default),
    "_standard_gamma": _row_by_row(torch.ops.aten._standard_gamma.default),
    "_sample_dirichlet": _row_by_row(torch.ops.aten._sample_dirichlet.default),
}
"""Operations that are answered as a whole: they return more than numbers, or torch itself draws these, row by row."""

QUIET = ("_fused_sdp_choice", "_nested_tensor_softmax_with_shape", "_cudnn_init_dropout_state")
"""Operations that have the tag and draw nothing."""


def is_random(operation: Any) -> bool:
    """Return whether torch marks an operation as random."""
    return torch.Tag.nondeterministic_seeded in operation.tags


def arguments(operation: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
    """Return the arguments of a call by name, with the defaults of the schema."""
    given = dict(kwargs)
    for place, argument in enumerate(operation._schema.arguments):
        if place < len(args):
            given[argument.name] = args[place]
        elif argument.name not in given:
            given[argument.name] = argument.default_value
    return given


def draws_nothing(operation: Any, given: Arguments) -> bool:
    """Return whether a call is not random: one in evaluation, or of attention or a recurrent network without dropout."""
    shares = [given[name] for name in ("dropout_p", "dropout") if name in given]
    return (
        operation.overloadpacket.__name__ in QUIET
        or given.get("train", True) is False
        or given.get("training", True) is False
        or (bool(shares) and shares[0] == 0)
    )


def answer(operation: Any, given: Arguments, keys: Tensor) -> Any:
    """Return what an operation returns, with the random numbers of `keys` (n,). Raises NotByRow; KeyError if it is unknown."""
    packet = operation.overloadpacket.__name__
    name = packet.removesuffix("_")
    if name in WHOLE:
        found = WHOLE[name](_near(keys, given.get("self", given.get("input"))), given)
        return _written(given, found) if packet.endswith("_") or "out" in given else found
    draw = DRAWS[name.removesuffix("_like").removesuffix("_functional")]
    target = _target(name, given)
    if target.dtype.is_complex:
        raise KeyError(name)
    values = draw(keys if keys.device == target.device else keys.to(target.device), target, given)
    if packet.endswith("_") or "out" in given:
        return _written(given, values)
    if target.like is None:
        return values.to(target.device, target.dtype)
    return torch.empty_like(target.like, dtype=target.dtype, device=target.device).copy_(values)


def _near(keys: Tensor, x: Any) -> Tensor:
    return keys.to(x.device) if isinstance(x, Tensor) else keys


def _written(given: Arguments, values: Any) -> Tensor:
    """Write values where the caller wants them, and return that tensor."""
    values = values[0] if isinstance(values, tuple) else values
    into: Tensor = given["out"].resize_(values.shape) if "out" in given else given["self"]
    return into.copy_(values)


def _target(name: str, given: Arguments) -> Target:
    """Return what an operation draws, as its size or a tensor among its arguments says."""
    tensors = [given[key] for key in ("self", "mean", "std") if isinstance(given.get(key), Tensor)]
    like = tensors[0] if tensors else None
    if len(tensors) == 2 and tensors[0].shape != tensors[1].shape:  # a mean and a deviation
        like = torch.broadcast_tensors(*tensors)[0].contiguous()
    whole = name in ("randint", "randperm", "multinomial")
    asked = given.get("dtype")  # an integer where a call leaves it to the schema
    dtype = (
        asked
        if isinstance(asked, torch.dtype)
        else (torch.int64 if whole else like.dtype if like is not None else torch.get_default_dtype())
    )
    device = given.get("device") or (like.device if like is not None else torch.device("cpu"))
    if name == "multinomial" or like is None:  # its values have a shape of their own
        return Target(tuple(given.get("size") or ()), dtype, torch.device(device), None)
    return Target(tuple(like.shape), dtype, torch.device(device), like)
