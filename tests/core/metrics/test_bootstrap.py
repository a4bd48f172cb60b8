"""The bootstrap over test examples against scipy's, and its weighted metrics against scikit-learn's."""

from inspect import signature

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

from rdrop_cli.core.metrics import bootstrap
from rdrop_cli.core.metrics.bootstrap import METRICS, interval, p_value, resample, resample_means
from rdrop_cli.core.metrics.classification import classification_metrics
from rdrop_cli.core.metrics.predictions import Predictions


def predictions(examples: int, classes: int, seed: int = 0, digits: int | None = None) -> Predictions:
    """Of a model that is right more often than not; rounded scores have ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, examples)
    logits = rng.normal(size=(examples, classes))
    logits[np.arange(examples), labels] += 1.0
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if digits is not None:
        p = np.round(p, digits) + 0.05
        p /= p.sum(axis=1, keepdims=True)
    return Predictions(labels, p)


@pytest.mark.skipif("rng" not in signature(stats.bootstrap).parameters, reason="scipy before 1.15 has no rng here")
def test_the_interval_is_scipys_percentile_interval():
    model = predictions(120, 2)
    right = model.probabilities.argmax(axis=1) == model.labels
    expected = stats.bootstrap(
        (right,), np.mean, n_resamples=1000, method="percentile", rng=np.random.default_rng(7)
    ).confidence_interval
    found = interval(resample([model], seed=7, resamples=1000)["accuracy"][0])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("chunk", [150, 10**6])
def test_the_draws_do_not_hang_on_how_many_are_held_at_once(chunk, monkeypatch):
    model = predictions(50, 2)
    expected = resample([model], resamples=40)
    monkeypatch.setattr(bootstrap, "_CELLS", chunk)
    for name, values in resample([model], resamples=40).items():
        assert values[0] == pytest.approx(expected[name][0])


@pytest.mark.parametrize(("classes", "digits"), [(2, None), (2, 1), (4, None), (4, 1)])
def test_metrics_of_a_resample_are_scikit_learns_weighted_ones(classes, digits):
    model = predictions(60, classes, digits=digits)
    labels, p = model.labels, model.probabilities
    predicted = p.argmax(axis=1)
    rng = np.random.default_rng(3)
    found = resample([model], seed=3, resamples=20)
    for index in range(20):
        weights = np.bincount(rng.integers(0, 60, 60), minlength=60)
        average = {"average": "binary"} if classes == 2 else {"average": "macro"}
        if classes == 2:
            auc = roc_auc_score(labels, p[:, 1], sample_weight=weights)
        else:
            auc = np.mean([roc_auc_score(labels == k, p[:, k], sample_weight=weights) for k in range(classes)])
        expected = {
            "accuracy": accuracy_score(labels, predicted, sample_weight=weights),
            "f1": f1_score(labels, predicted, sample_weight=weights, **average),
            "roc_auc": auc,
            "nll": log_loss(labels, p, sample_weight=weights, labels=range(classes)),
        }
        for name in METRICS:
            assert found[name][0, index] == pytest.approx(expected[name]), name


@pytest.mark.parametrize("chunk", [150, 10**6])
def test_means_of_losses_are_those_over_the_same_drawn_examples(chunk, monkeypatch):
    monkeypatch.setattr(bootstrap, "_CELLS", chunk)
    models = [predictions(50, 3, seed=seed) for seed in (1, 2)]
    brier = np.array([((m.probabilities - np.eye(3)[m.labels]) ** 2).sum(axis=1) for m in models])
    right = np.array([m.probabilities.argmax(axis=1) == m.labels for m in models], dtype=float)
    found = resample_means(brier, resamples=30, seed=5)
    rng = np.random.default_rng(5)
    drawn = [rng.integers(0, 50, 50) for _ in range(30)]
    for model, losses in enumerate(brier):
        assert found[model] == pytest.approx([sum(losses[example] for example in each) / 50 for each in drawn])
    accuracy = resample(models, resamples=30, seed=5)["accuracy"]
    assert resample_means(right, resamples=30, seed=5) == pytest.approx(accuracy)


def test_losses_that_are_unknown_for_one_model_leave_the_others_known():
    found = resample_means(np.stack([np.full(60, np.nan), np.ones(60)]), resamples=20)
    assert np.isnan(found[0]).all()
    assert found[1] == pytest.approx(1.0)


@pytest.mark.parametrize("positive", [0, 1])
def test_with_every_example_once_the_metrics_are_the_plain_ones(positive):
    model = predictions(40, 2)
    expected = classification_metrics(model.labels, model.probabilities, positive=positive)
    found = bootstrap._Measure(model, positive)(np.ones((1, 40)))
    for name in METRICS:
        assert found[name][0] == pytest.approx(expected[name])


def test_f1_leaves_out_classes_that_a_resample_has_nothing_of():
    model = Predictions(np.array([0, 1, 2]), np.eye(3) * 0.7 + 0.1)
    found = bootstrap._Measure(model, 1)(np.array([[2.0, 1.0, 0.0]]))
    assert found["f1"][0] == 1.0
    assert np.isnan(found["roc_auc"][0])


def test_auc_without_one_of_the_classes_is_undefined_from_the_start():
    model = Predictions(np.array([0, 1, 0, 1] * 10), np.full((40, 3), 1 / 3))
    drawn = resample([model], resamples=20)
    assert np.isnan(drawn["roc_auc"]).all()
    assert not np.isnan(drawn["f1"]).any()


def test_large_sets_get_fewer_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "_WORK", 60 * 4 * 1000)
    assert resample([predictions(60, 4)])["f1"].shape == (1, 1000)
    assert resample([predictions(60, 4)] * 2)["f1"].shape == (2, 500)
    assert resample([predictions(60, 2)])["f1"].shape == (1, 2000)


def test_models_are_resampled_together_so_equal_ones_differ_by_exactly_nothing():
    model = predictions(80, 2)
    for values in resample([model, model], resamples=50).values():
        assert np.array_equal(values[0], values[1])
        assert values.shape == (2, 50)


def test_a_metric_that_most_resamples_leave_undefined_has_no_interval():
    labels = np.array([1] + [0] * 30)
    model = Predictions(labels, np.column_stack([1 - labels * 0.8, labels * 0.8]))
    drawn = resample([model], resamples=500)
    assert np.isnan(drawn["roc_auc"]).mean() == pytest.approx((30 / 31) ** 31, abs=0.06)
    assert interval(drawn["roc_auc"][0]) == bootstrap.Interval(None, None)
    assert p_value(drawn["roc_auc"][0]) is None
    assert interval(drawn["accuracy"][0]) == bootstrap.Interval(1.0, 1.0)


def test_the_p_value_by_hand():
    # 3 of 99 at or below zero: twice (3 + 1) of 100
    values = np.array([-1.0, -1.0, 0.0] + [1.0] * 96)
    assert p_value(values) == pytest.approx(0.08)
    assert p_value(-values) == pytest.approx(0.08)
    assert p_value(np.zeros(99)) == 1.0
    assert p_value(np.ones(99)) == pytest.approx(0.02)


def test_progress_ends_at_the_number_of_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "_CELLS", 400)
    seen = []
    resample([predictions(40, 2)], resamples=25, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(10, 25), (20, 25), (25, 25)]
