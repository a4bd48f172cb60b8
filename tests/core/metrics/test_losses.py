"""The loss of each example, against its definition."""

import math

import numpy as np
import pytest

from rdrop_cli.core.metrics.losses import brier_per_example, nll_per_example

LABELS = np.array([0, 2, 1])
P = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]])


def test_nll_is_that_of_the_true_class_in_nats_and_never_infinite():
    assert nll_per_example(LABELS, P)[:2] == pytest.approx([math.log(2), -math.log(0.7)])
    assert 700 < nll_per_example(LABELS, P)[2] < math.inf


def test_brier_is_the_squared_distance_to_the_true_class():
    expected = [0.5**2 + 2 * 0.25**2, 0.1**2 + 0.2**2 + 0.3**2, 2.0]
    assert brier_per_example(LABELS, P) == pytest.approx(expected)
