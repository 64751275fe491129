import pytest

from pipeline.execution.outcome import Outcome


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome(0, (), 0), 0),
        (Outcome(1, (), 0), 1),
        (Outcome(0, ("a unit",), 0), 1),
        (Outcome(0, (), 0, "the disk is full"), 1),
        (Outcome(0, (), 2), 130),
        (Outcome(3, ("a unit",), 15), 143),
    ],
)
def test_exit_codes_are_those_that_the_pages_promise(outcome, code):
    assert outcome.exit_code == code
