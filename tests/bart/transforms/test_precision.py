from bart.transforms.precision import COLOR_PRECISION
from tests.bart.transforms.checks import assert_contract, assert_fidelity
from tests.oracles import ORACLES


def test_color_precision_is_its_definition():
    assert_fidelity(COLOR_PRECISION, ORACLES["color_precision"])
    assert_contract(COLOR_PRECISION)
