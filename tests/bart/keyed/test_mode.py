"""Check what the mode refuses, what it lets pass, and that passes which run again get their numbers again."""

import pytest
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from bart.keyed import Code, Keyed, UnknownRandomness, operations
from bart.keyed.mode import Answers, counting
from tests.support.images import keys
from tests.support.stochastic import Before, images, mirror, run, unknown


def refusal(module):
    with pytest.raises(UnknownRandomness) as error:
        Keyed()(Code(module, (module,)), images(2), mirror(2))
    return str(error.value)


def test_an_unknown_random_operation_is_named_in_one_line():
    said = refusal(unknown())
    assert said.startswith("draws by strangers.shake, which can't be answered from keys") and "\n" not in said


def test_a_module_that_seeds_torch_is_refused():
    assert "leave out torch.manual_seed" in refusal(Before(lambda self, x: (torch.manual_seed(1), x + torch.randn_like(x))[1]))


def test_a_checkpoint_that_does_not_restore_the_generator_is_refused():
    def careless(self, x):
        return checkpoint(lambda y: y * torch.rand_like(y), x, use_reentrant=False, preserve_rng_state=False)

    assert "preserve_rng_state=True" in refusal(Before(careless))


def test_a_checkpointed_module_equals_the_plain_one():
    def part(y):
        return functional.dropout((y + torch.rand_like(y)).clamp(0, 1), 0.3, True).sin()

    def plain(self, x):
        return part(part(x * torch.rand_like(x))) + 0.1 * torch.randn_like(x)

    def saving(self, x):
        x = checkpoint(part, x * torch.rand_like(x), use_reentrant=False)
        x = checkpoint(part, x, use_reentrant=False)
        return x + 0.1 * torch.randn_like(x[:, :, :, :])

    both = [run(Keyed(), Before(function), images(), mirror()) for function in (plain, saving)]
    assert torch.equal(both[0][0], both[1][0]) and torch.equal(both[0][1], both[1][1])


def test_attention_without_dropout_passes_and_with_it_is_drawn():
    q = torch.randn(5, 2, 8, 4)
    with counting(), Answers(keys(5)):
        before = torch.get_rng_state()
        functional.scaled_dot_product_attention(q, q, q)
        assert torch.equal(torch.get_rng_state(), before)
        functional.scaled_dot_product_attention(q, q, q, dropout_p=0.5)
        assert not torch.equal(torch.get_rng_state(), before)


def test_a_module_in_evaluation_draws_nothing():
    module = Before(lambda self, x: functional.rrelu(functional.dropout(x, 0.5, False), training=False))
    assert Keyed().habits(Code(module, (module,)), images(1)).draws == ()


def test_every_operation_that_torch_marks_is_known_or_named():
    """A release of torch with another random operation fails here, not in a campaign."""
    marked = set()
    for full in torch._C._dispatch_get_all_op_names():
        space, _, rest = full.partition("::")
        name, _, overload = rest.partition(".")
        operation = getattr(getattr(getattr(torch.ops, space), name, None), overload or "default", None)
        composite = torch._C._dispatch_has_kernel_for_dispatch_key(full, "CompositeImplicitAutograd")
        if space == "aten" and operation is not None and operations.is_random(operation) and not composite:
            marked.add(name.removesuffix("_").removesuffix("_like").removesuffix("_functional"))
    known = {*operations.DRAWS, *operations.WHOLE, *operations.QUIET}
    with_a_share = {name for name in marked if "attention" in name or name in ("_cudnn_rnn", "miopen_rnn", "_lstm_mps")}
    assert marked - known - with_a_share <= {"_fill_mem_eff_dropout_mask"}  # named where it is met
    assert len(marked & known) >= 20
