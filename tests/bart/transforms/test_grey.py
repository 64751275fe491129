import pytest

from bart.transforms import grey
from tests.oracles import ORACLES
from tests.support.contracts.transforms import assert_contract, assert_exact_gradient, assert_fidelity

ALL = [grey.GREY_MIX, grey.GREY_PARTIAL_MIX, grey.GREY_TWO_THIRDS, grey.GREY_ONE_CHANNEL]


@pytest.mark.parametrize("transform", ALL, ids=lambda t: t.name)
def test_grey_is_its_definition(transform):
    assert_fidelity(transform, ORACLES[transform.name])
    assert_contract(transform)
    assert_exact_gradient(transform)
