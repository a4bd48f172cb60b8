"""Trials of a sweep on disk."""

import json

import pytest

from rdrop_cli.core.runs import layout
from rdrop_cli.core.sweep.trials import Trial, load_trials, save_trial, trial_folder
from rdrop_cli.errors import CheckpointError


def make_trial(folder, number=0):
    trial = Trial(number, trial_folder(folder, number), {"train.lr": 1e-5})
    save_trial(trial)
    return trial


def test_trials_are_read_as_they_were_written(tmp_path):
    trials = [
        make_trial(tmp_path),
        make_trial(tmp_path, 1).ended("failed", "killed three times", 12.5),
        make_trial(tmp_path, 2).ended("pruned", None, 7.0),
    ]
    assert load_trials(tmp_path) == trials
    assert [trial.seconds for trial in trials] == [0.0, 12.5, 0.0]


def test_a_failed_trial_of_an_earlier_version_has_no_seconds(tmp_path):
    trial = make_trial(tmp_path).ended("failed", "out of memory", 12.5)
    path = trial.folder / "trial.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "seconds"}))
    assert load_trials(tmp_path)[0].seconds == 0.0


@pytest.mark.parametrize(
    "damage", [{"values": None}, {"state": "lost"}, {"number": 3}, {"state": "failed", "seconds": "long"}]
)
def test_a_damaged_trial_is_refused_with_its_file(tmp_path, damage):
    path = make_trial(tmp_path).folder / "trial.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(CheckpointError, match=r"trials.000.trial\.json: damaged"):
        load_trials(tmp_path)


@pytest.mark.parametrize("metrics", [{}, {"validation": {}}, {"validation": {"f1": "high"}}, {"validation": [1]}])
def test_damaged_metrics_of_a_run_are_refused_with_their_file(tmp_path, metrics):
    trial = make_trial(tmp_path)
    trial.run(1).mkdir()
    (trial.run(1) / layout.METRICS).write_text(json.dumps(metrics))
    with pytest.raises(CheckpointError, match=r"seed1.metrics\.json: damaged"):
        trial.scores([1], "f1")
