"""Leaving the least confident examples without a label."""

import numpy as np
import pytest

from rdrop_cli.core.metrics.abstaining import COVERAGES, covered
from rdrop_cli.core.metrics.calibration import risk_coverage


def test_the_errors_are_those_of_the_risk_coverage_curve():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], 200)
    labels, predicted = rng.integers(3, size=200), probabilities.argmax(axis=1)
    coverage, risk = risk_coverage(labels, probabilities)
    for row, share in zip(covered(labels, predicted, probabilities.max(axis=1)), COVERAGES, strict=True):
        assert row.coverage == pytest.approx(share)
        assert row.errors / row.labelled == pytest.approx(risk[np.isclose(coverage, share).argmax()])
        assert (probabilities.max(axis=1) >= row.confidence).sum() == row.labelled
        assert row.accuracy == 1 - row.as_dict()["risk"]


def test_examples_of_equal_confidence_are_labelled_together():
    found = covered([0, 1, 0, 1], [0, 0, 0, 0], [0.9, 0.8, 0.8, 0.6], coverages=(1.0, 0.5, 0.25))
    assert [(row.labelled, row.errors, row.confidence) for row in found] == [(4, 2, 0.6), (3, 1, 0.8), (1, 0, 0.9)]
