"""Intervals over the test examples, against other computations."""

import numpy as np
import pytest

from rdrop_cli.core.metrics.example_intervals import metric_intervals, wilson
from rdrop_cli.core.metrics.predictions import Predictions


@pytest.mark.parametrize(("right", "total"), [(8, 10), (0, 7), (7, 7), (500, 1000)])
def test_wilsons_interval_holds_the_shares_that_a_score_test_does_not_reject(right, total):
    low, high = wilson(right, total)
    for share in (low, high):
        if 0 < share < 1:
            z = abs(right / total - share) / np.sqrt(share * (1 - share) / total)
            assert z == pytest.approx(1.96, abs=1e-3)
    assert wilson(0, 0) == (0, 1)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution_where_examples_are_many():
    rng = np.random.default_rng(1)
    positive = rng.random(4000)
    found = Predictions((rng.random(4000) < positive).astype(np.int64), np.stack([1 - positive, positive], axis=1))
    squares = 2 * (found.probabilities[:, 1] - found.labels) ** 2
    expected = squares.mean() + np.array([-1.96, 1.96]) * squares.std() / np.sqrt(4000)
    brier = metric_intervals(found)["brier"]
    assert [brier.low, brier.high] == pytest.approx(expected, abs=1e-3)
