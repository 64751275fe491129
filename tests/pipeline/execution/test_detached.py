"""Detached runs, as processes of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.campaigns.job import opened
from pipeline.campaigns.verification.verify import verify
from pipeline.errors import BadInput
from pipeline.execution import detached as module
from pipeline.execution.detached import Detached, detach, files
from tests.support import tiny
from tests.support.processes import alive, until

ROOT = Path(__file__).parents[3]


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Detaches pieces of Python instead of `barrage`, and ends what still runs."""
    started = []
    (tmp_path / "pipeline.py").write_text("import sys; exec(sys.argv[1])")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def start(code, store):
        started.append(detach([code], str(store)))
        return started[-1]

    yield start
    for found in started:
        try:
            os.kill(found.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        os.waitpid(found.pid, 0)


def test_it_has_a_session_of_its_own_and_writes_to_the_log(command, tmp_path):
    store = tmp_path / "store"
    found = command("import os; print('hello', os.getsid(0), sys.stdin.read(), flush=True)", store)
    until(lambda: "hello" in found.log.read_text(), "its first words")
    assert found == Detached(found.pid, tmp_path / "store.log") and f"hello {found.pid}" in found.log.read_text()
    assert (tmp_path / "store.pid").read_text() == f"{found.pid}\n"


def test_a_second_one_is_refused_while_the_first_lives_and_not_after(command, tmp_path):
    store = tmp_path / "store"
    first = command("import time; time.sleep(600)", store)
    with pytest.raises(BadInput, match=f"process {first.pid} works on it already"):
        command("pass", store)
    command("pass", tmp_path / "another")
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    assert command("pass", store).pid != first.pid


def test_files_of_a_bucket_lie_in_the_state_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first, second = files("s3://bucket/runs/demo"), files("s3://other/runs/demo")
    assert first[0].parent == tmp_path / "barrage" and first[0].name.startswith("demo-") and first[0].suffix == ".log"
    assert not set(first) & set(second)
    assert files("stores/demo.v2/") == (Path("stores/demo.v2.log").absolute(), Path("stores/demo.v2.pid").absolute())


def test_a_detached_campaign_is_done_after_its_command_has_ended(tmp_path, pattern, write):
    store = tmp_path / "store"
    path = write(tiny.campaign(pattern))
    arguments = [sys.executable, "-m", "pipeline", "run", str(path), "--store", str(store), "--here", "--detach"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    pid = int((tmp_path / "store.pid").read_text())
    assert f"kill {pid}" in done.stderr and f"tail -f {tmp_path / 'store.log'}" in done.stderr
    until(lambda: not alive(pid) or "rows:" in (tmp_path / "store.log").read_text(), "the end of the run")
    assert list(verify(opened(str(store)))) == []


def test_bad_input_is_said_at_once_and_nothing_is_started(tmp_path, pattern, write, barrage, monkeypatch):
    monkeypatch.setattr(module, "detach", None)
    path = write(tiny.campaign(pattern, seed="x"))
    code, _, err = barrage("run", path, "--store", tmp_path / "store", "--detach")
    assert code == 2 and "seed" in err and not (tmp_path / "store.log").exists()
