"""Experiment trackers: one run there for one run here, interrupted or not; and none of them may end a training."""

import json
import struct
import sys

import pytest
from transformers import TrainerCallback

from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.trackers import load_sent
from rdrop_cli.core.training import trackers
from rdrop_cli.core.training.observer import Observer
from rdrop_cli.core.training.run import TrainingRun
from rdrop_cli.errors import ModelError, TrainingInterrupted
from training_runs import SignalAt, history

BOTH = ["wandb", "mlflow"]


@pytest.fixture
def servers(tmp_path, monkeypatch):
    """Both trackers keep everything in a folder."""
    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    yield tmp_path
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()  # it keeps what it has read of the environment


def logged_by_wandb(folder):
    """The entries and the summary in a folder of W&B, whose file is a log as LevelDB writes it."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # its service may write the file after a run's end, but not after its own

    (path,) = folder.glob("*.wandb")
    content, position, whole, entries, summary = path.read_bytes(), 7, b"", [], {}
    while position + 7 <= len(content):
        if 32768 - position % 32768 < 7:  # no header begins so close to the end of a block
            position += 32768 - position % 32768
            continue
        length, kind = struct.unpack("<HB", content[position + 4 : position + 7])
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind not in (1, 4):  # whole, or the last part
            continue
        record, whole = Record.FromString(whole), b""
        if record.HasField("history"):
            entries.append(
                {"/".join([*item.nested_key]) or item.key: json.loads(item.value_json) for item in record.history.item}
            )
        for item in record.summary.update if record.HasField("summary") else ():
            summary["/".join([*item.nested_key]) or item.key] = json.loads(item.value_json)
    return entries, summary


class Dies(Observer):
    """Ends the training at a step as if it had been killed: nothing is saved."""

    def step(self, step):
        if step == 15:  # after the entries of 12 and 14, which the checkpoint of step 10 does not know of
            raise MemoryError


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's own, of SQLAlchemy 2.1
@pytest.mark.parametrize("stops", [SignalAt(7), Dies()], ids=["interrupted", "killed"])
def test_an_interrupted_run_is_one_run_in_the_trackers_without_a_step_twice(config, servers, stops):
    pytest.importorskip("wandb")
    mlflow = pytest.importorskip("mlflow")
    settings, run = config(**{"train.report_to": BOTH, "train.log_steps": 2}), servers / "run"
    with pytest.raises((TrainingInterrupted, ModelError)):
        TrainingRun(settings, run, observer=stops).start()
    result = TrainingRun(settings, run, resume=True).start()
    losses = {int(row["step"]): float(row["loss"]) for row in history(run) if row["loss"]}
    scores = {int(row["step"]): float(row["validation_f1"]) for row in history(run) if row["validation_f1"]}

    folders = sorted((servers / "wandb").glob("offline-run-*"))
    sessions = [logged_by_wandb(folder) for folder in folders]
    assert len(folders) == 2
    assert {folder.name.rpartition("-")[2] for folder in folders} == {load_sent(run)["wandb"].id}
    entries = [entry for entries, _ in sessions for entry in entries]
    assert [entry["train/global_step"] for entry in entries] == [entry["_step"] for entry in entries] == sorted(losses)
    assert {entry["_step"]: entry["train/loss"] for entry in entries} == pytest.approx(losses)
    assert {entry["_step"]: entry["eval/f1"] for entry in entries if "eval/f1" in entry} == pytest.approx(scores)
    assert sessions[1][1]["test/f1"] == result.metrics["test"]["f1"]

    client = mlflow.MlflowClient()
    (there,) = client.search_runs([client.get_experiment_by_name("rdrop").experiment_id])
    assert (there.info.run_name, there.info.status) == ("run", "FINISHED")
    assert float(there.data.params["rdrop.alpha"]) == settings.rdrop.alpha
    for name, expected in (("loss", losses), ("eval_f1", scores)):
        points = client.get_metric_history(there.info.run_id, name)
        assert [point.step for point in points] == sorted(expected)
        assert {point.step: point.value for point in points} == pytest.approx(expected)
    (final,) = client.get_metric_history(there.info.run_id, "test/f1")
    assert final.value == result.metrics["test"]["f1"]


class Fails(TrainerCallback):
    """A tracker that fails at one point."""

    def __init__(self, at):
        self.at, self.callback, self.ends = at, self, []

    def _reach(self, point):
        if point == self.at:
            raise ConnectionError("no answer from https://me:secret@host.example/api\nand more")

    def begin(self, run_id, name, config):
        self._reach("begin")
        return "1", "nowhere"

    def on_log(self, *_, **__):
        self._reach("log")

    def finish(self, metrics):
        self._reach("finish")

    def end(self, *, completed):
        self.ends.append(completed)
        self._reach("end")


@pytest.mark.parametrize("point", ["begin", "log", "finish", "end"])
def test_a_tracker_that_fails_is_left_out_and_training_ends_as_without_it(config, tmp_path, monkeypatch, point):
    tracker = Fails(point)
    monkeypatch.setitem(trackers._TRACKERS, "wandb", lambda: tracker)
    heard = []
    observer = Observer()
    observer.notice = heard.append
    settings = config(**{"train.report_to": ["wandb"], "train.epochs": 1})
    TrainingRun(settings, tmp_path / "run", observer=observer).start()
    assert (tmp_path / "run" / layout.METRICS).is_file()
    failed = [line for line in heard if "continues without it" in line]
    assert failed == ["wandb: no answer from https://***@host.example/api; the training continues without it"]
    assert tracker.ends == [point == "end"], "its run there is ended, once"


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's own, of SQLAlchemy 2.1
def test_a_run_of_mlflow_that_fails_does_not_stand_in_the_way_of_the_next(config, servers, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    from transformers.integrations import MLflowCallback

    def fail(*_, **__):
        raise ConnectionError("no answer")

    settings = config(**{"train.report_to": ["mlflow"], "train.epochs": 1})
    with monkeypatch.context() as patch:
        patch.setattr(MLflowCallback, "on_log", fail)
        TrainingRun(settings, servers / "first").start()
    TrainingRun(settings, servers / "second").start()
    client = mlflow.MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("rdrop").experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == {"first": "KILLED", "second": "FINISHED"}


def test_settings_by_class_are_one_parameter_of_mlflow_whatever_the_classes_are_called(config):
    weights = {"negative": 2.0, "C++ & <C>": 1.0}
    tree = config().model_dump() | {"train": config().train.model_dump() | {"class_weights": weights}}
    parameters = trackers._parameters(tree)
    assert parameters["train.class_weights"] == '{"negative": 2.0, "C++ & <C>": 1.0}'
    assert parameters["train.early_stopping.patience"] == tree["train"]["early_stopping"]["patience"]


def test_without_an_account_wandb_is_left_out_without_a_question(config, servers, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(servers))
    heard = []
    observer = Observer()
    observer.notice = heard.append
    settings = config(**{"train.report_to": ["wandb"], "train.epochs": 1})
    TrainingRun(settings, servers / "run", observer=observer).start()
    assert any(line.startswith("wandb: No API key configured") for line in heard)


@pytest.mark.parametrize(
    "command", [("train", "--out", "{run}"), ("train", "--dry-run"), ("compare", "--out", "{run}")]
)
def test_a_missing_package_is_said_before_anything_is_loaded(rdrop, reviews, tmp_path, monkeypatch, command):
    monkeypatch.setattr("rdrop_cli.core.storage.extras.find_spec", lambda name: None if name == "mlflow" else object())
    run = tmp_path / "run"
    name, *options = (word.format(run=run) for word in command)
    said = rdrop.error(name, reviews, "--set", "train.report_to=[mlflow]", *options)
    assert "train.report_to: mlflow is not installed. Install it with: pip install 'rdrop-cli[mlflow]'" in said
    assert "Loading" not in said and not run.exists()


@pytest.mark.parametrize("sent", ["7", '{"steps": null}', '{"steps": {"train": "many"}}'])
def test_a_damaged_record_of_what_was_sent_counts_as_nothing(tmp_path, sent):
    (tmp_path / layout.TRACKERS).write_text(f'{{"wandb": {sent}}}')
    assert load_sent(tmp_path) == {}
