"""What is told of a run, also of one that is damaged, unfinished or at work."""

import json
import math
import os
import shutil
from pathlib import Path

import pytest

from rdrop_cli.config import dump_config, override
from rdrop_cli.core.runs.details import describe_run
from rdrop_cli.core.runs.finding import recorded_config
from rdrop_cli.core.runs.summary import list_runs, summarize
from rdrop_cli.core.storage.files import write_text
from rdrop_cli.core.storage.integrity import with_checksum
from rdrop_cli.core.storage.lock import only_writer
from training_runs import unfinished


@pytest.fixture
def run(finished_run):
    return shutil.copytree(finished_run, Path("runs/mine"))


def test_a_finished_run(run):
    found = summarize(run, "mine")
    assert (found.state, found.faults, found.epoch) == ("finished", (), None)
    assert found.metrics == json.loads((run / "metrics.json").read_text())
    told = found.as_dict()
    assert (told["name"], told["alpha"], told["seed"], told["epochs"]) == ("mine", 2.0, 42, 2)
    assert told["bytes"] == sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    assert found.disk["checkpoints"] > found.disk["best"] > found.disk["other"] > 0


@pytest.mark.parametrize(
    ("settings", "method"),
    [
        ({"rdrop.alpha": 0}, "plain fine-tuning (alpha 0)"),
        ({"rdrop.alpha": 0, "rdrop.two_passes": True}, "two passes without KL (alpha 0)"),
        ({"rdrop.alpha": 2, "rdrop.noise": 1e-5}, "R3F, alpha 2 (noise 1e-05)"),
        ({"rdrop.alpha": 0, "train.ema": 0.99}, "plain fine-tuning (alpha 0), averaged weights (decay 0.99)"),
    ],
)
def test_the_method_is_told_whatever_it_is(run, settings, method):
    write_text(run / "config.yaml", dump_config(override(recorded_config(run), settings, "test")))
    assert describe_run(run)["method"] == method


def test_an_unfinished_run_tells_what_is_saved(run):
    assert (summarize(unfinished(run)).state, summarize(run).step, summarize(run).epoch) == ("unfinished", 10, 1.0)
    shutil.rmtree(run / "checkpoints")
    assert (summarize(run).step, summarize(run).epoch) == (0, 0.0)


def test_a_run_at_work_tells_what_it_logged(run):
    with only_writer(unfinished(run)):
        found = summarize(run)
        assert describe_run(run)["next"] == []
    assert (found.state, found.step, found.epoch) == ("in use", 20, 2.0)


def test_the_one_that_wrote_last_comes_first(run):
    for age, name in enumerate(("new", "old")):
        copy = shutil.copytree(run, Path("runs", name))
        for path in copy.iterdir():
            os.utime(path, (1e9 - age, 1e9 - age))
    assert [found.name for found in list_runs()] == ["mine", "new", "old"]


@pytest.mark.parametrize("name", ["config.yaml", "data.json", "metrics.json"])
@pytest.mark.parametrize("content", [b"\xff", b"[1", b'{"train": {"f1": "high"}, "data": 1}', None])
def test_a_damaged_record_is_named_and_the_rest_is_told(run, name, content):
    (run / name).write_bytes(content) if content is not None else (run / name).unlink()
    (found,) = list_runs()
    if content is None and name == "metrics.json":
        assert found.state == "unfinished"
        return
    assert found.state == "damaged"
    assert any(name in fault for fault in found.faults)
    assert (found.as_dict()["seed"] == 42) is (name != "config.yaml")
    assert describe_run(run)["next"] == ["rdrop runs verify runs/mine"]


@pytest.mark.parametrize("damage", [{"f1": math.nan}, {"nll": 10**400}, {"per_class": 5}, {"undefined": []}])
def test_metrics_that_are_none_are_named(run, damage):
    path = run / "metrics.json"
    metrics = json.loads(path.read_text())
    path.write_text(json.dumps({**metrics, "test": metrics["test"] | damage}))
    (found,) = list_runs()
    assert found.state == "damaged"
    assert any("metrics.json: holds no metrics" in fault for fault in found.faults)
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_finished_run_without_its_model_is_damaged(run):
    shutil.rmtree(run / "best")
    assert summarize(run).faults == ("runs/mine/best: folder not found",)


def test_a_run_is_described(run):
    told = describe_run(run, "mine")
    assert told["splits"] == {"train": 160, "validation": 20, "test": 20}
    assert (told["labels"], told["precision"], told["metric"]) == (["0", "1"], "float32", "f1")
    assert told["steps"] == 20
    assert told["next"] == ["rdrop evaluate runs/mine", 'rdrop predict --checkpoint runs/mine "some text"']
    assert describe_run(unfinished(run))["next"] == ["rdrop train --resume --out runs/mine"]


def test_what_was_left_out_and_fallen_back_from_is_told(run):
    record = json.loads((run / "data.json").read_text())
    record["left_out"] = {"rows": {"all": 300}, "rejected": {"all": {"text is empty": 2}}}
    record["fallbacks"] = {"train.precision": "bfloat16"}
    (run / "data.json").write_text(with_checksum(record))
    assert describe_run(run)["remarks"] == [
        "Left out: 2 of 300 rows (text is empty: 2)",
        "train.precision bfloat16 did not work on the device: train.precision float32 was used",
    ]


def test_records_of_earlier_versions_lack_keys(run):
    (run / "data.json").write_text(with_checksum({"source": {"name": "reviews.csv"}}))
    (run / "training.json").unlink()
    told = describe_run(run)
    assert (told["state"], told["splits"], told["seconds"], told["remarks"]) == ("finished", None, None, [])
