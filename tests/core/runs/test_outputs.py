"""What a finished run leaves for comparisons."""

import numpy as np
import pytest

from rdrop_cli.core.inference.backends.choice import open_classifier
from rdrop_cli.core.metrics.predictions import Predictions
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.checkpoint import find_checkpoint
from rdrop_cli.core.runs.outputs import load_cost, load_predictions, save_outputs, seconds_of
from rdrop_cli.core.training.run import TrainingRun
from rdrop_cli.errors import CheckpointError


def test_predictions_come_back_to_the_last_bit(tmp_path):
    p = np.random.default_rng(0).dirichlet(np.ones(3), 7)
    saved = Predictions(np.arange(7) % 3, p)
    save_outputs(tmp_path, {"test": saved, "train": saved}, {"seconds": 1.0})
    found = load_predictions(tmp_path)
    assert np.array_equal(found.labels, saved.labels)
    assert np.array_equal(found.probabilities, p)
    assert load_cost(tmp_path) == {"seconds": 1.0}
    assert {path.name for path in tmp_path.iterdir()} == {"test-predictions.parquet", "training.json"}


def test_seconds_of_earlier_sessions_are_estimated_by_their_steps():
    whole = {"wall_seconds": 60.0, "steps": 100, "resumed_from_step": None}
    assert seconds_of(whole) == 60
    assert seconds_of({**whole, "resumed_from_step": 75}) == 240
    assert seconds_of({**whole, "resumed_from_step": 100}) == 60


def test_without_a_test_split_there_are_none(tmp_path):
    save_outputs(tmp_path, {}, {})
    with pytest.raises(CheckpointError, match=r"test-predictions.parquet: file not found"):
        load_predictions(tmp_path)


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [([0, 2], [[0.7, 0.3], [0.2, 0.8]]), ([0, 1], [[0.7, 0.3], [np.nan, 0.8]]), ([], np.zeros((0, 2))), ([0], [[1.0]])],
)
def test_what_cannot_be_predictions_is_damaged(tmp_path, labels, probabilities):
    save_outputs(tmp_path, {"test": Predictions(np.array(labels, dtype=int), np.array(probabilities))}, {})
    with pytest.raises(CheckpointError, match=r"test-predictions.parquet: damaged"):
        load_predictions(tmp_path)


@pytest.mark.parametrize("damage", [{"wall_seconds": "long"}, {"steps": np.inf}, {"best_epoch": [1]}, {"versions": []}])
def test_a_cost_that_is_no_number_is_damaged(tmp_path, damage):
    save_outputs(tmp_path, {}, {"wall_seconds": 3.0, "steps": 5, **damage})
    with pytest.raises(CheckpointError, match=r"training.json: damaged"):
        load_cost(tmp_path)


@pytest.mark.parametrize("position", [10, 60])
def test_damage_is_found(tmp_path, position):
    save_outputs(tmp_path, {"test": Predictions(np.array([0, 1]), np.array([[0.7, 0.3], [0.2, 0.8]]))}, {})
    path = tmp_path / layout.PREDICTIONS["test"]
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"test-predictions.parquet: damaged"):
        load_predictions(tmp_path)


def test_a_run_leaves_what_its_best_model_says_of_validation_and_test_and_what_it_cost(config, tmp_path):
    training = TrainingRun(config(), tmp_path / "run")
    result = training.start()
    classifier = open_classifier(find_checkpoint(str(result.run)))
    for split in ("validation", "test"):
        found = load_predictions(result.run, split)
        assert np.array_equal(found.probabilities, classifier.probabilities(training.set_up().datasets[split]))
        assert np.array_equal(found.labels, training.data.splits[split].labels)
    cost = load_cost(result.run)
    assert (cost["seconds"], cost["steps"], cost["best_epoch"]) == (result.seconds, result.steps, result.best_epoch)
    assert cost["wall_seconds"] > cost["seconds"] > 0
    assert cost["resumed_from_step"] is None
    assert cost["versions"]["torch"] and cost["device"].startswith("CPU")
