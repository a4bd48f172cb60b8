"""What must be known besides the figures is said, and nothing where all is well."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rdrop_cli.config import load_config
from rdrop_cli.core.comparison.arms import make_arms
from rdrop_cli.core.comparison.calibration import calibrate
from rdrop_cli.core.comparison.grid import CellOutcome
from rdrop_cli.core.comparison.verdict import cautions
from rdrop_cli.core.metrics.predictions import Predictions

ARMS = make_arms(load_config("starter"), ["plain", "rdrop"], [], "steps")

_IS_POSITIVE = np.arange(100) % 2
_P = np.where((np.arange(100) % 4 == 0) ^ (_IS_POSITIVE == 1), 0.8, 0.2)  # right for three in four
VALIDATION = Predictions(_IS_POSITIVE, np.column_stack([1 - _P, _P]))


def outcome(labels=None, p=None) -> CellOutcome:
    labels = np.arange(200) % 2 if labels is None else np.asarray(labels)
    p = np.linspace(0, 1, len(labels)) if p is None else np.asarray(p)
    return CellOutcome(
        "plain",
        42,
        Path("run"),
        {},
        Predictions(labels, np.column_stack([1 - p, p])),
        {},
        "CPU, torch 2",
        validation=VALIDATION,
    )


def look(seeds, arms=("plain", "rdrop")):
    return {"arms": list(arms), "seeds": list(seeds)}


NOW = look(range(42, 47))


def told(cells, arms=ARMS, looks=(NOW,)):
    return cautions(cells, arms, looks, [calibrate(cell.test, cell.validation) for cell in cells])


def test_there_are_none_where_all_is_well():
    assert told([outcome(), outcome()], ARMS, [NOW]) == []


@pytest.mark.parametrize(
    ("earlier", "numbers"),
    [
        ([look([42, 43])], "2"),
        ([look([42, 43, 44]), look([42])], "1, 3"),
        ([look(range(42, 52))], "10"),
        ([look([42, 43], ["plain", "rdrop", "other"])], "2"),
        ([look([42, 43]), look([100, 101, 102])], "2"),
        ([look([100, 101])], None),
        ([look([42, 43], ["plain", "other"])], None),
        ([look([42, 43], ["other", "another"])], None),
        ([look(range(42, 47), ["plain", "rdrop", "other"])], None),
    ],
)
def test_other_numbers_of_the_same_seeds_are_told_for_the_same_arms(earlier, numbers):
    found = told([outcome()], ARMS, [*earlier, NOW])
    assert len(found) == (numbers is not None)
    if numbers:
        assert f"some of them the same as now (number of seeds: {numbers}). If these 5 were chosen after" in found[0]


@pytest.mark.parametrize(
    ("labels", "p", "reason"),
    [
        (np.arange(49) % 2, None, "fewer than 50 test examples"),
        (np.arange(400) < 19, None, "fewer than 20 test examples of a class"),
        (np.zeros(400, dtype=int), None, "fewer than 20 test examples of a class"),
        (np.arange(200) >= 100, None, "a model with fewer than 5 errors"),
    ],
)
def test_too_few_examples_are_told(labels, p, reason):
    found = told([outcome(np.asarray(labels, dtype=int), p)], ARMS, [NOW])
    assert found == [f"The intervals over examples are too narrow: {reason}"]


def test_an_arm_with_other_batches_is_told():
    arms = make_arms(load_config("starter"), ["plain", "rdrop"], ["big:train.batch_size=64,train.lr=2e-4"], "steps")
    assert told([outcome()], arms, [NOW]) == [
        "big and plain have the same seeds, but not the same batches or initial heads, because they differ in"
        " train.batch_size"
    ]


def test_different_environments_are_told():
    other = replace(outcome(), environment="GPU, torch 2")
    assert told([outcome(), other], ARMS, [NOW]) == [
        "Runs were trained on different machines, numbers of threads, precisions or versions: CPU, torch 2;"
        " GPU, torch 2"
    ]


def test_runs_without_predictions_for_validation_are_told():
    old = replace(outcome(), validation=None)
    assert told([outcome(), old])[0].startswith(
        "1 of 2 runs were trained by a version of rdrop that kept no predictions"
    )


def test_a_temperature_that_could_not_be_fitted_is_told():
    few = outcome().test
    few = replace(outcome(), validation=Predictions(few.labels[:10], few.probabilities[:10]))
    assert told([outcome(), few]) == [
        "The temperature of 1 of 2 runs is 1, because 10 validation examples are too few (at least 50)"
    ]
