"""Finding runs and checkpoints."""

import os
from pathlib import Path

import pytest

from rdrop_cli.core import checkpoints
from rdrop_cli.errors import CheckpointError


def make_run(name, *, finished=True, age=0):
    run = Path("runs") / name
    (run / "best").mkdir(parents=True)
    (run / "config.yaml").write_text("{}")
    (run / "data.json").write_text("{}")
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
        found = checkpoints.find(name)
        assert (Path(found.name), found.run.resolve()) == (run / "best", run.resolve())


def test_the_newest_finished_run_is_not_the_one_still_training():
    make_run("old", age=100)
    make_run("new", age=50)
    make_run("training", finished=False, age=0)
    assert checkpoints.newest_finished().run == Path("runs/new")
    assert checkpoints.newest_unfinished() == Path("runs/training")


def test_an_unknown_name_lists_the_runs():
    make_run("mine")
    with pytest.raises(CheckpointError, match=r"mime: no such run or checkpoint\. Runs: mine\."):
        checkpoints.find("mime")


def test_a_run_without_a_finished_epoch_says_how_to_go_on():
    run = make_run("mine", finished=False)
    (run / "best").rename(run / "gone")
    with pytest.raises(CheckpointError, match="rdrop train --resume --out runs/mine"):
        checkpoints.find("mine")


def test_a_folder_that_is_neither():
    Path("other").mkdir()
    with pytest.raises(CheckpointError, match=r"no model here \(config.json is missing\)"):
        checkpoints.find("other")


def test_new_runs_get_names_of_their_own():
    make_run("a-b")
    assert checkpoints.new_run_folder(["A", "b"]) == Path("runs/a-b-2")
    assert checkpoints.new_run_folder(["x/y z", "1"]) == Path("runs/x-y-z-1")


def test_the_last_checkpoint_has_the_most_steps_and_is_whole():
    run = make_run("mine")
    for step, whole in ((9, True), (10, True), (11, False)):
        folder = run / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if whole:
            (folder / "trainer_state.json").write_text("{}")
    assert checkpoints.last_checkpoint(run).name == "checkpoint-10"
