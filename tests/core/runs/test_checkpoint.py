"""Finding runs and checkpoints."""

import os
import sys
from itertools import islice
from pathlib import Path

import pytest

from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.checkpoint import Checkpoint, find_checkpoint, newest_finished
from rdrop_cli.core.runs.finding import newest_unfinished, runs_by_age
from rdrop_cli.core.storage.numbered import numbered_checkpoints
from rdrop_cli.errors import CheckpointError


def make_run(name, *, finished=True, age=0):
    run = Path("runs") / name
    (run / "best").mkdir(parents=True)
    (run / "config.yaml").write_text("{}")
    (run / "data.json").write_text('{"fingerprint": "", "splits": {}, "labels": []}')
    (run / "best" / "config.json").write_text("{}")
    (run / "best" / "model.safetensors").write_text("")
    if finished:
        (run / "metrics.json").write_text("{}")
    for path in run.iterdir():
        os.utime(path, (1e9 - age, 1e9 - age))
    return run


def test_a_run_by_folder_by_name_and_by_its_checkpoint():
    run = make_run("mine")
    for name in ("runs/mine", "mine", "runs/mine/best"):
        found = find_checkpoint(name)
        assert (Path(found.name), found.run.resolve()) == (run / "best", run.resolve())


def test_the_newest_finished_run_is_not_the_one_still_training():
    make_run("old", age=100)
    make_run("new", age=50)
    make_run("training", finished=False, age=0)
    assert newest_finished().run == Path("runs/new")
    assert newest_unfinished() == Path("runs/training")


def test_a_configuration_that_a_user_keeps_under_runs_is_nothing_to_resume():
    make_run("finished", age=100)
    (Path("runs") / "mine").mkdir()
    (Path("runs") / "mine" / "config.yaml").write_text("train:\n  epochs: 3\n")
    with pytest.raises(CheckpointError, match="no unfinished run found in runs/"):
        newest_unfinished()


def test_a_folder_that_may_not_be_looked_into_is_in_nobodys_way(monkeypatch):
    make_run("old", age=100)
    make_run("closed", age=50)
    is_file, read_text = Path.is_file, Path.read_text

    def refusing(act):
        def act_or_refuse(path, **options):
            if "closed" in path.parts:
                raise PermissionError(13, "Permission denied", str(path))
            return act(path, **options)

        return act_or_refuse

    monkeypatch.setattr(Path, "is_file", refusing(is_file))
    monkeypatch.setattr(Path, "read_text", refusing(read_text))
    assert list(runs_by_age()) == [Path("runs/old")]


@pytest.mark.parametrize("length", [True, 0, -5, 2**40, "64", 64.0, None])
def test_a_length_that_is_none_is_not_recorded(length):
    assert Checkpoint("x", card={"max_length": length}).max_length is None
    assert Checkpoint("x", card={"max_length": 64}).max_length == 64


def test_an_unknown_name_lists_the_runs():
    make_run("mine")
    with pytest.raises(CheckpointError, match=r"mime: no such run or checkpoint\. Runs: mine\."):
        find_checkpoint("mime")


def test_of_many_runs_it_is_said_that_there_are_more():
    for number in range(7):
        make_run(f"run{number}", age=number)
    with pytest.raises(CheckpointError, match=r"Runs: run0, run1, run2, run3, run4 and 2 more\."):
        find_checkpoint("mime")


def test_a_file_is_no_checkpoint_on_the_hub(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "reviews").write_text("text")
    with pytest.raises(CheckpointError, match="data/reviews: is a file, not a run or checkpoint"):
        find_checkpoint("data/reviews")


@pytest.mark.parametrize("finished", [True, False])
def test_a_model_whose_training_has_not_ended_is_said_to_be_one(finished):
    make_run("mine", finished=finished)
    remark = find_checkpoint("mine").remark
    assert remark is None if finished else remark == "runs/mine has not finished: this is its best model so far"


def test_a_run_without_a_finished_epoch_says_how_to_go_on():
    run = make_run("mine", finished=False)
    (run / "best").rename(run / "gone")
    with pytest.raises(CheckpointError, match="rdrop train --resume --out runs/mine"):
        find_checkpoint("mine")


def test_a_folder_that_is_neither():
    Path("other").mkdir()
    with pytest.raises(CheckpointError, match=r"no model in this folder \(config.json is missing\)"):
        find_checkpoint("other")


def test_new_runs_get_names_of_their_own():
    assert list(islice(layout.new_run_folders(["x/y z", "1"]), 2)) == [
        Path("runs/x-y-z-1"),
        Path("runs/x-y-z-1-2"),
    ]


def test_checkpoints_are_ordered_by_their_steps():
    run = make_run("mine")
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-x", "checkpoint-11.partial"):
        (run / "checkpoints" / name).mkdir(parents=True)
    assert [path.name for path in numbered_checkpoints(run / "checkpoints")] == ["checkpoint-10", "checkpoint-9"]


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which folder is flushed")
def test_a_run_that_is_cleared_is_known_for_a_run_until_the_rest_of_it_is_gone_from_the_disk(monkeypatch):
    run = make_run("mine")
    flushed = []

    def left(descriptor):
        assert Path(f"/proc/self/fd/{descriptor}").readlink() == run.resolve()
        flushed.append({path.name for path in run.iterdir()})

    monkeypatch.setattr(os, "fsync", left)
    layout.clear_run(run)
    assert flushed == [{"config.yaml"}]
    assert list(run.iterdir()) == []
