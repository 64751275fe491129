"""What cannot work with Ray ends in one line within seconds: folders for its sockets, addresses where no cluster answers."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.execution.ray import start
from pipeline.execution.ray.start import check_address, check_folder
from tests.support import tiny
from tests.support.source.pages import ROOT


@pytest.fixture
def folder(monkeypatch):
    def named(variable, path):
        for name in ("RAY_TMPDIR", "TMPDIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(variable, str(path))

    return named


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_folder_without_room_for_the_names_of_sockets_is_refused(folder, variable):
    folder(variable, "/tmp/" + "x" * 60)
    with pytest.raises(BadInput, match=rf"{variable} /tmp/x+ has 65 bytes, Ray's sockets leave room for \d+: set RAY_TMPDIR"):
        check_folder()
    folder(variable, "/tmp/" + "é" * 30)
    with pytest.raises(BadInput, match="has 65 bytes"):
        check_folder()


def test_the_room_that_is_told_is_what_ray_needs():
    """Ray's sockets: <folder>/ray/<run>/session_<time>_<pid>/sockets/plasma_store, of 107 bytes at most."""
    session = f"session_{time.strftime('%Y-%m-%d_%H-%M-%S')}_123456_{2**22}"
    assert len(f"/ray/1a2b/{session}/sockets/plasma_store") == len(start._SOCKET)


def test_a_folder_that_cannot_be_written_is_refused(folder, tmp_path, monkeypatch):
    (tmp_path / "f").write_text("")
    monkeypatch.setattr(start, "SOCKET_BYTES", 500)
    for place in (tmp_path / "f" / "inside", tmp_path / "f", "/proc"):  # /proc: even root makes no folder there
        folder("RAY_TMPDIR", place)
        with pytest.raises(
            BadInput, match=rf"RAY_TMPDIR {place} cannot be written to \(.+\), where Ray keeps.*: set RAY_TMPDIR"
        ):
            check_folder()
    folder("RAY_TMPDIR", tmp_path / "new" / "folder")
    made = check_folder()
    assert made == tmp_path / "new" / "folder" / "ray"
    assert stat.S_IMODE(made.stat().st_mode) == 0o1777, "another user of this machine starts Ray there too"


@pytest.mark.parametrize("place", ["", "tmp", "./tmp"])
def test_a_folder_that_is_another_one_for_each_process_is_refused(folder, place):
    folder("RAY_TMPDIR", place)
    with pytest.raises(BadInput, match=rf"RAY_TMPDIR *{place} is no whole path.*: set RAY_TMPDIR"):
        check_folder()


def test_a_ray_that_does_not_start_is_one_line(slow_ray, monkeypatch):
    ray = slow_ray(0)
    monkeypatch.setattr(ray, "init", lambda **settings: (_ for _ in ()).throw(Exception("The node timed out\nduring startup")))
    with pytest.raises(BadInput, match=r"Ray could not be started on this machine \(Exception: The node timed out during"):
        start.start(ray, None)
    assert ray.killed == 1


@pytest.fixture
def listening():
    """Return a function that listens on a port and answers every caller with some bytes; None: it never answers."""
    made = []

    def listen(answer):
        server = socket.create_server(("127.0.0.1", 0))
        made.append(server)

        def serve():
            kept = []
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                kept.append(caller)
                if answer is not None:
                    caller.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}"

    yield listen
    for server in made:
        server.close()


def test_an_address_where_nobody_listens_is_refused_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    began = time.monotonic()
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(BadInput, match=f"no Ray cluster answers at {address} .*Connection refused.*: start it, or leave"):
            check_address(address)
    assert time.monotonic() - began < 15


def test_what_listens_and_is_no_ray_is_refused_in_15_seconds(listening, monkeypatch):
    with pytest.raises(BadInput, match="is no Ray: give the address of its head"):
        check_address(listening(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    assert 2 * start.ANSWER_SECONDS < 15
    monkeypatch.setattr(start, "ANSWER_SECONDS", 0.2)
    with pytest.raises(BadInput, match="no Ray cluster answers at .* \(timed out\)"):
        check_address(listening(None))


def test_a_server_of_http2_is_taken_for_ray(listening):
    check_address(listening(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])))
    check_address("auto")


@pytest.mark.parametrize("address", ["nowhere", "host:", ":6379", "host:port", "host:99999999"])
def test_an_address_that_is_none_says_what_one_looks_like(address):
    with pytest.raises(BadInput, match="expected HOST:PORT, such as 10.0.0.1:6379|no Ray cluster answers"):
        check_address(address)


class SlowRay:
    """A Ray that is told to stop while it starts; like the real one, it has a handler of SIGTERM of its own by then."""

    def __init__(self, sent):
        self.sent, self.killed = sent, 0

    def init(self, **settings):
        self.settings, self.variables = settings, dict(os.environ)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        if self.sent:
            os.kill(os.getpid(), self.sent)
            time.sleep(5)


@pytest.fixture
def slow_ray(monkeypatch, folder, tmp_path):
    def made(sent):
        ray = SlowRay(sent)
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        folder("RAY_TMPDIR", tmp_path)
        monkeypatch.setattr(start, "SOCKET_BYTES", 500)
        monkeypatch.setattr(start.private, "loopback_only", lambda ray: nullcontext())
        monkeypatch.setattr(start.private, "kill", lambda ray: setattr(ray, "killed", ray.killed + 1))
        return ray

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("sent", "ends"), [(signal.SIGTERM, "143"), (signal.SIGINT, "")])
def test_a_signal_while_ray_starts_ends_its_processes_and_has_its_exit_code(slow_ray, sent, ends):
    ray = slow_ray(sent)
    with pytest.raises((SystemExit, KeyboardInterrupt)) as ended:
        start.start(ray, None)
    assert str(ended.value) == ends and ray.killed == 1


def test_a_signal_between_the_start_and_the_run_has_its_exit_code(slow_ray):
    start.start(slow_ray(0), None)
    with pytest.raises(SystemExit, match="143"):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)


def test_a_ray_that_was_started_here_takes_its_folder_along_and_one_that_was_killed_keeps_its_logs(slow_ray, tmp_path):
    ray = slow_ray(0)
    ray.shutdown = lambda: None
    first, second = start.start(ray, None), start.start(ray, None)
    assert [ray.settings["_temp_dir"]] == [str(second.scratch.folder)]
    (second.scratch.folder / "session" / "logs").mkdir(parents=True)
    second.kill()
    first.end()
    assert [path.name for path in (tmp_path / "ray").iterdir() if path.is_dir()] == [second.scratch.folder.name]
    second.end()
    assert not list((tmp_path / "ray").iterdir())


def test_logs_of_a_ray_that_was_started_here_are_short_unless_the_user_says_so(slow_ray, monkeypatch):
    most, kept = start._LOGS
    monkeypatch.delenv(most, raising=False)
    monkeypatch.setenv(kept, "7")
    ray = slow_ray(0)
    start.start(ray, None)
    assert (ray.variables[most], ray.variables[kept]) == (start._LOGS[most], "7")
    assert most not in os.environ and os.environ[kept] == "7"


def test_the_ray_of_a_run_on_one_machine_listens_on_this_machine_alone_and_leaves_nothing(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as place:
        monkeypatch.setenv("RAY_TMPDIR", place)
        done = subprocess.run([sys.executable, "-m", "benchmarks.ports"], cwd=ROOT, capture_output=True, text=True)
        assert (Path(place) / "ray").is_dir() and not list((Path(place) / "ray").iterdir())
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert done.returncode == 0 and len(rows) >= 5, done.stdout + done.stderr
    assert {row[1].removeprefix("::ffff:") for row in rows} == {"127.0.0.1"}


@pytest.mark.parametrize("command", [("run",), ("judge", "examples.npz")])
def test_an_address_is_tried_before_images_and_models_are_looked_up(barrage, write, monkeypatch, command):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"  # nobody listens there
        monkeypatch.setenv("RAY_ADDRESS", address)
        name, *more = command
        code, _, err = barrage(name, write(tiny.campaign("absent-{000000..000001}.tar")), *more)
        assert code == 2 and address in err and "absent" not in err
        code, _, err = barrage(name, write(tiny.campaign("absent-{000000..000001}.tar")), *more, "--here")
        assert code == 2 and address not in err
