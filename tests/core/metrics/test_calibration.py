"""Calibration against computations of its own: loops, scikit-learn, and a fit of the temperature by torch."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from rdrop_cli.core.metrics.calibration import (
    at_temperature,
    aurc,
    brier_score,
    calibrated_metrics,
    calibration_error,
    fit_temperature,
    reliability,
    risk_coverage,
)
from rdrop_cli.core.metrics.predictions import softmax


def overconfident(classes=3, count=400, by=2.0, seed=0):
    """Labels, and logits that are `by` times too large to be calibrated."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, classes)) * 1.5
    labels = np.array([rng.choice(classes, p=row) for row in softmax(logits)])
    return labels, by * logits


@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize("by", [0.5, 1.0, 3.0])
def test_the_temperature_is_that_of_an_independent_fit(classes, by):
    labels, logits = overconfident(classes, by=by)
    scale = torch.zeros(1, dtype=torch.float64, requires_grad=True)  # of log T
    optimizer = torch.optim.LBFGS([scale], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(torch.tensor(logits) / scale.exp(), torch.tensor(labels))
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    found = fit_temperature(labels, softmax(logits))
    assert found.reason is None
    assert found.value == pytest.approx(scale.exp().item(), abs=1e-4)
    assert found.value == pytest.approx(by, rel=0.4)


@pytest.mark.parametrize(
    ("labels", "logits", "reason"),
    [
        (*overconfident(count=49), "49 validation examples are too few"),
        (np.arange(60) % 2, 20.0 * np.eye(2)[np.arange(60) % 2], "the best temperature is below 0.2"),
        (np.arange(60) % 2, 20.0 * np.eye(2)[1 - np.arange(60) % 2], "the best temperature is above 10"),
    ],
)
def test_where_none_can_be_fitted_it_is_1_and_says_why(labels, logits, reason):
    found = fit_temperature(labels, softmax(logits))
    assert found.value == 1.0
    assert found.reason.startswith(reason)


def test_a_temperature_divides_the_logits():
    _, logits = overconfident()
    assert at_temperature(softmax(logits), 1.7) == pytest.approx(softmax(logits / 1.7), abs=1e-12)
    certain = np.array([[1.0, 0.0], [0.5, 0.5]])  # as probabilities come from logits that are far apart
    assert at_temperature(certain, 2.0) == pytest.approx(certain, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 4])
def test_brier_is_summed_over_the_classes(classes):
    labels, logits = overconfident(classes)
    p = softmax(logits)
    expected = np.mean([sum((p[i, c] - (labels[i] == c)) ** 2 for c in range(classes)) for i in range(len(labels))])
    assert brier_score(labels, p) == pytest.approx(expected)
    if classes == 2:
        assert brier_score(labels, p) == pytest.approx(2 * sk.brier_score_loss(labels, p[:, 1]))


def test_ece_is_the_mean_gap_of_fifteen_bins_of_equal_size():
    labels, logits = overconfident(count=151)
    p = softmax(logits)
    rows = sorted((max(row), int(row.argmax() == label)) for row, label in zip(p, labels, strict=True))
    gap, start = 0.0, 0
    for size in [11] + [10] * 14:
        group = rows[start : start + size]
        gap += abs(sum(c for c, _ in group) - sum(right for _, right in group)) / len(rows)
        start += size
    assert calibration_error(labels, p) == pytest.approx(gap)
    assert [group.examples for group in reliability(labels, p)] == [11] + [10] * 14


def test_with_fewer_examples_than_bins_each_is_one():
    assert [group.examples for group in reliability([0, 1], [[0.9, 0.1], [0.4, 0.6]])] == [1, 1]
    assert calibration_error([0, 1], [[0.9, 0.1], [0.4, 0.6]]) == pytest.approx(0.25)


def test_risk_against_coverage_by_hand():
    labels = [0, 0, 1, 1]
    p = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]  # right, wrong, right, wrong; in the order of confidence
    coverage, risk = risk_coverage(labels, p)
    assert coverage == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert risk == pytest.approx([0.0, 1 / 2, 1 / 3, 2 / 4])
    assert aurc(labels, p) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_examples_of_equal_confidence_may_come_in_any_order():
    labels, logits = overconfident(2, count=200)
    p = softmax(np.round(logits))
    order = np.random.default_rng(1).permutation(len(labels))
    for measure in (aurc, calibration_error):
        assert measure(labels, p) == pytest.approx(measure(labels[order], p[order]), abs=1e-12)
    shuffled = [np.random.default_rng(seed).permutation(len(labels)) for seed in range(300)]
    errors = p.argmax(1) != labels
    naive = [
        np.mean(np.cumsum(errors[o][np.argsort(-p[o].max(1), kind="stable")]) / np.arange(1, 201)) for o in shuffled
    ]
    assert aurc(labels, p) == pytest.approx(np.mean(naive), abs=0.005)  # what random orders give on average


def test_calibrated_metrics_are_those_of_the_calibrated_probabilities():
    labels, logits = overconfident()
    found = calibrated_metrics(labels, softmax(logits), 2.0)
    p = softmax(logits / 2.0)
    assert found["nll_calibrated"] == pytest.approx(sk.log_loss(labels, p))
    assert found["brier_calibrated"] == pytest.approx(brier_score(labels, p))
    assert found["ece_calibrated"] == pytest.approx(calibration_error(labels, p))
    assert found["temperature"] == 2.0
    assert found["nll_calibrated"] < sk.log_loss(labels, softmax(logits))
