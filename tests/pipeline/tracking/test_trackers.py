"""Each tracker with its own library, offline: a run that was stopped and resumed is read back as that library reads it."""

import os
import struct

import pytest

from pipeline.tracking import follower
from tests.support.tracking.runs import two_runs

HALF, ALL = 8, 16
"""Images done when the first run ends, and when the second ends."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder without settings of the user, in which trackers leave what they like."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "WANDB_", "TRACKIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(follower, "PATIENCE", 300.0)  # on a busy machine, the first import alone may take a minute
    return tmp_path


def test_tensorboard_reads_both_runs_as_one(copied, place):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    (line, again) = two_runs(copied(), "tensorboard:events")
    assert line == again == f"tracked by tensorboard: tensorboard --logdir {place / 'events'}"
    (folder,) = (place / "events").iterdir()
    assert len(list(folder.iterdir())) == 2
    read = EventAccumulator(str(folder)).Reload()
    assert [(event.step, event.value) for event in read.Scalars("campaign/images_done")] == [(HALF, HALF), (ALL, ALL)]
    ends = [read.Scalars(f"net-bart2-pgd/attacked_vote{end}")[-1].value for end in ("_low", "", "_high")]
    assert 0 <= ends[0] < ends[1] < ends[2] <= 1
    held = plugin_data_pb2.HParamsPluginData.FromString(
        read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    )
    assert held.session_start_info.hparams["attacks.pgd.steps"].number_value == 6


@pytest.mark.parametrize("uri", ["sqlite:///{}/runs.db", "{}/folder"])
def test_mlflow_reads_both_runs_as_one(copied, place, monkeypatch, uri):
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # folders are going out of use
    uri = uri.format(place)
    assert len(two_runs(copied(), f"mlflow:{uri}")) == 2
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("barrage").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["attacks.pgd.steps"] == "6"
    history = client.get_metric_history(run.info.run_id, "campaign/images_done")
    assert [(metric.step, metric.value) for metric in history] == [(HALF, HALF), (ALL, ALL)]
    assert 0 <= run.data.metrics["net-bart2-pgd/attacked_vote_low"] < run.data.metrics["net-bart2-pgd/attacked_vote"]


def test_mlflow_keeps_a_changed_setting_as_a_tag(place):
    """A parameter of MLflow never changes; a store may get more cells and a stricter stop rule."""
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    from pipeline.tracking.tracked_run import TrackedRun
    from pipeline.tracking.trackers.mlflow import MLflow

    for interval in (0.02, 0.01):
        one = MLflow(TrackedRun("tiny-1", "tiny", f"sqlite:///{place}/runs.db", {"stop.interval": interval, "seed": 0}))
        one.end(0)
    found = one._client.get_run(one._run).data
    assert found.params == {"stop.interval": "0.02", "seed": "0"} and found.tags["stop.interval"] == "0.01"


def test_trackio_reads_both_runs_as_one(copied, place, monkeypatch):
    pytest.importorskip("trackio", reason="needs the extra trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(place / "trackio"))
    assert two_runs(copied(), "trackio:mine") == ["tracked by trackio: trackio show --project mine"] * 2
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", place / "trackio")
    from trackio.sqlite_storage import SQLiteStorage

    (name,) = SQLiteStorage.get_runs("mine")
    logs = SQLiteStorage.get_logs("mine", name)
    assert [(log["step"], log["campaign/images_done"]) for log in logs] == [(HALF, HALF), (ALL, ALL)]
    assert SQLiteStorage.get_run_config("mine", name)["attacks.pgd.steps"] == 6


def records(path):
    """Yield the records of a .wandb file: after 7 bytes a log in blocks of 32,768, as LevelDB describes it."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 32_768 - place % 32_768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole, place = whole + data[place + 7 : place + 7 + length], place + 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(whole)
            whole = b""


def test_wandb_keeps_both_runs_as_one_offline(copied, place, monkeypatch):
    pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    said = two_runs(copied(), "wandb:team/mine")
    files = sorted(place.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2 and [f"tracked by wandb: offline; send it later: wandb sync {f.parent}" for f in files] == said
    found = [list(records(path)) for path in files]
    ids = {(r.run.entity, r.run.project, r.run.run_id) for part in found for r in part if r.HasField("run")}
    assert len(ids) == 1 and next(iter(ids))[:2] == ("team", "mine")
    assert [r.history.step.num for part in found for r in part if r.HasField("history")] == [HALF, ALL]
    assert [r.exit.exit_code for part in found for r in part if r.HasField("exit")] == [143, 0]


def test_wandb_without_an_account_is_one_line(copied, place, monkeypatch):
    """It would ask for a key; there is no terminal in its process."""
    pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    first, second = two_runs(copied(), "wandb")
    assert first == second and first.startswith("warning: --track wandb failed (") and first.endswith("it is tried again")
