"""Show a defended classifier as a plain module, as attacks and loops of other libraries expect one."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bart import draw_keys, rng, surroundings
from bart.attacks.attack import Cost
from bart.ball import Ball
from bart.bpda import POLICIES
from bart.defenses import Defended
from bart.gradient import pieces


class FreshDraws(nn.Module):
    """Return logits (n, classes) of images x (n, 3, h, w) in [0, 1]; each call meets fresh draws.

    Row i of call c meets the draws of key (key, c, i). So the same calls in the same order give the same logits and gradients
    bit for bit, and no global generator is used. None of these draws can judge (`bart.draw_keys`).

    key     decides all draws, a 64-bit integer such as `bart.key("my run", 0)`
    draws   draws of one call, whose logits are averaged: 1, or more where a library follows gradients without repeating them
    stack   draws that fit the device at once; beyond that, the backward pass computes them again
    policy  a name of `bart.bpda.policies.POLICIES`: how transforms are differentiated
    ball    of the attack that is running, for functions that ask for its norm and radius; None: no attack is
    Raises ValueError for an unknown policy or fewer than 1 draw; a call does for images in half precision, and where it is
    exported, traced, run by `torch.func` or run again in a backward pass. `torch.compile` and autocast change nothing in it.
    """

    def __init__(
        self, defended: Defended, key: int = 0, draws: int = 1, stack: int = 64, policy: str = "combo", ball: Ball | None = None
    ) -> None:
        super().__init__()
        if policy not in POLICIES or draws < 1:
            raise ValueError(f"{draws} draws by policy {policy!r}: expected at least 1, and one of {', '.join(POLICIES)}")
        self.defended, self.draws, self.stack, self.policy = defended, draws, stack, policy
        self.classifier = defended.classifier  # so that `parameters()` tells device and type
        self.key, self.calls, self.ball = key, 0, ball
        self.spent = Cost(0, 0)
        """Draws so far: those that a backward pass went through, and the others."""
        self.eval()

    @surroundings.eager
    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, classes) float32, of fresh draws."""
        surroundings.first_pass(self)
        if x.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"images of {x.dtype}: expected float32, in which draws are defined; a network in half precision can convert "
                "what it gets"
            )
        keys = self._keys(len(x), x.device)
        self.calls += 1
        parts = []
        for images, draw_range in pieces(len(x), self.draws, self.stack):
            places = torch.arange(len(x) * self.draws, device="cpu").view(-1, self.draws)[images, draw_range]
            mine = keys.map(lambda side, place: side[place], rng.Mirror.of(places.flatten(), x.device))
            stacked = x[images].repeat_interleave(places.shape[1], 0)
            parts.append(self._logits(stacked, mine, again=len(x) * self.draws > self.stack))
        logits = torch.cat(parts).view(len(x), self.draws, -1).mean(1) if parts else x.new_zeros(0, 0)
        self._count(logits, len(x) * self.draws)
        return logits

    def _keys(self, rows: int, device: torch.device) -> rng.Mirror:
        """Return the keys of all draws of a call, row by row, (rows x draws,)."""
        base = rng.Mirror.of(torch.tensor([self.key], dtype=torch.int64, device="cpu"), device)
        if self.defended.frozen:  # one draw for all, the one that judges
            return draw_keys.to_attack(self.defended.keys(base, "frozen"), 1).map(lambda side: side.repeat(rows * self.draws))
        call = base.map(rng.fold, "call").map(rng.fold, self.calls)
        return draw_keys.to_attack(call.map(lambda side: rng.fold(side, torch.arange(rows, device=side.device))), self.draws)

    def _logits(self, x: Tensor, keys: rng.Mirror, again: bool) -> Tensor:
        """Return the logits of a stack; `again`: its backward pass repeats the forward pass, which costs time for memory."""
        policy = partial(POLICIES[self.policy], networks=self.defended.networks)
        work = partial(self.defended.logits, keys=keys, policy=policy)
        if again and x.requires_grad and torch.is_grad_enabled():
            return checkpoint(work, x, use_reentrant=False, preserve_rng_state=False)
        return work(x)

    def _count(self, logits: Tensor, draws: int) -> None:
        """Count the draws of a call: without a gradient, until a backward pass goes through them."""
        self.spent = self.spent._replace(forwards=self.spent.forwards + draws)
        if not logits.requires_grad:
            return
        first = True

        def backward(gradient: Tensor) -> None:
            nonlocal first
            self.spent = Cost(self.spent.gradients + draws, self.spent.forwards - draws * first)
            first = False

        logits.register_hook(backward)
