import os
import signal

import pytest

from pipeline.execution.outcome import Outcome, stopping


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


@pytest.mark.parametrize(("sent", "ends"), [(signal.SIGTERM, "143"), (signal.SIGINT, "")])
def test_a_second_signal_ends_the_run_at_once(sent, ends):
    said = []
    with stopping(said.append) as stop:
        os.kill(os.getpid(), sent)
        assert stop.drain.is_set() and stop.signal == sent and len(said) == 1
        with pytest.raises((SystemExit, KeyboardInterrupt)) as ended:
            os.kill(os.getpid(), sent)
    assert str(ended.value) == ends
