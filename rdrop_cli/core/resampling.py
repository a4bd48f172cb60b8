"""The bootstrap over test examples: what a metric would have been on other examples of the same kind.

The models stay as they are; only the examples are drawn anew, with replacement (Efron 1979). Each resample is a weight
for every example, so all metrics of all models come from the same draws: differences between models are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdrop_cli.core.outcome import Predictions

METRICS = ("accuracy", "f1", "roc_auc", "nll")
"""What is resampled: the headline metrics, and nll in nats."""
RESAMPLES = 2000
_FEWER = 500
_LARGE = 100_000
"""Sets of more examples get fewer resamples: their intervals are narrow."""
_CELLS = 2_000_000
"""Weights held at once."""
_MOST_UNDEFINED = 0.05
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A 95 % percentile interval; None where the metric is undefined in more than 5 % of the resamples."""

    low: float | None
    high: float | None


def resample(
    models: Sequence[Predictions],
    *,
    positive: int = 1,
    seed: int = 0,
    resamples: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Array]:
    """Metrics of models on resamples of their test examples.

    Args:
        models: Predictions for the same examples in the same order.
        positive: The positive class's id; with two classes only.
        seed: Of the draws.
        resamples: How many; None: 2,000, for more than 100,000 examples 500.
        on_progress: Called with the resamples done and how many there are.

    Returns:
        By metric (models, resamples); NaN where a resample leaves it undefined, as without one of the classes.
    """
    count = len(models[0].labels)
    total = resamples or (RESAMPLES if count <= _LARGE else _FEWER)
    rng = np.random.default_rng(seed)
    measures = [_Measure(model, positive) for model in models]
    found = {name: np.empty((len(models), total)) for name in METRICS}
    step = max(1, _CELLS // count)
    for start in range(0, total, step):
        rows = min(step, total - start)
        drawn = rng.integers(0, count, (rows, count))
        offsets = np.arange(rows)[:, None] * count
        weights = np.bincount((drawn + offsets).ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)
        for index, measure in enumerate(measures):
            for name, values in measure(weights).items():
                found[name][index, start : start + rows] = values
        if on_progress is not None:
            on_progress(start + rows, total)
    return found


def interval(values: Array) -> Interval:
    """The 95 % percentile interval of resampled values."""
    defined = values[~np.isnan(values)]
    if len(defined) < (1 - _MOST_UNDEFINED) * len(values):
        return Interval(None, None)
    low, high = np.percentile(defined, [2.5, 97.5])
    return Interval(float(low), float(high))


def p_value(differences: Array) -> float | None:
    """Two-sided: twice the share of resampled differences beyond zero, the observed one counted among them."""
    defined = differences[~np.isnan(differences)]
    if len(defined) < (1 - _MOST_UNDEFINED) * len(differences):
        return None
    tail = min((defined <= 0).sum(), (defined >= 0).sum())
    return min(1.0, 2 * (int(tail) + 1) / (len(defined) + 1))


class _Measure:
    """A model's metrics as functions of the examples' weights, as `classification_metrics` defines them."""

    def __init__(self, model: Predictions, positive: int) -> None:
        truth, p = model.labels, model.probabilities
        rows, classes = p.shape
        predicted = p.argmax(axis=1)
        self._classes = [positive] if classes == 2 else list(range(classes))
        self._is_of = np.zeros((rows, classes))
        self._is_of[np.arange(rows), truth] = 1.0
        is_called = np.zeros((rows, classes))
        is_called[np.arange(rows), predicted] = 1.0
        self._hits = self._is_of * is_called
        self._marked = self._is_of + is_called
        nll = -np.log(np.maximum(p[np.arange(rows), truth], np.finfo(np.float64).tiny))
        self._means = np.column_stack([predicted == truth, nll])
        self._ranked = {index: _ranks(p[:, index]) for index in self._classes}

    def __call__(self, weights: Array) -> dict[str, Array]:
        """Each metric, (resamples,), for (resamples, examples) weights."""
        accuracy, nll = (weights @ self._means / weights.sum(axis=1, keepdims=True)).T
        return {"accuracy": accuracy, "f1": self._f1(weights), "roc_auc": self._roc_auc(weights), "nll": nll}

    def _f1(self, weights: Array) -> Array:
        marked = (weights @ self._marked)[:, self._classes]
        hits = (weights @ self._hits)[:, self._classes]
        occurs = marked > 0
        with np.errstate(invalid="ignore"):
            per_class = np.where(occurs, 2 * hits / np.where(occurs, marked, 1.0), 0.0)
            mean: Array = per_class.sum(axis=1) / occurs.sum(axis=1)
        return mean

    def _roc_auc(self, weights: Array) -> Array:
        """The chance that a positive example ranks above a negative one, ties counted half; one against the rest."""
        total = np.zeros(len(weights))
        for index, (order, starts) in self._ranked.items():
            ordered = weights[:, order]
            is_positive = self._is_of[order, index]
            positives = np.add.reduceat(ordered * is_positive, starts, axis=1)
            negatives = np.add.reduceat(ordered * (1 - is_positive), starts, axis=1)
            below = np.cumsum(negatives, axis=1) - negatives / 2
            pairs = positives.sum(axis=1) * negatives.sum(axis=1)
            with np.errstate(invalid="ignore"):
                total += (positives * below).sum(axis=1) / np.where(pairs > 0, pairs, np.nan)
        mean: Array = total / len(self._ranked)
        return mean


def _ranks(scores: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order of ascending scores, and where in it each group of equal scores begins."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return order, starts
