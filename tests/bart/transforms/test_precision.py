from bart.transforms.precision import COLOR_PRECISION
from tests.oracles import ORACLES
from tests.support.contracts.transforms import assert_contract, assert_fidelity


def test_color_precision_is_its_definition():
    assert_fidelity(COLOR_PRECISION, ORACLES["color_precision"])
    assert_contract(COLOR_PRECISION)
