"""The bootstrap over test examples: how a metric would vary on other examples of the same kind.

The models stay fixed, and the examples are drawn anew with replacement (Efron 1979). A resample is a weight for every
example, and all metrics of all models use the same resamples, so that differences between models are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rdrop_cli.core.metrics.losses import nll_per_example

if TYPE_CHECKING:
    from rdrop_cli.core.metrics.predictions import Predictions

METRICS = ("accuracy", "f1", "roc_auc", "nll")
"""The metrics that are resampled: the headline metrics, and nll in nats."""
RESAMPLES = 2000
_FEWEST = 500
_WORK = 400_000_000
"""Limit on resamples x examples x classes x models, above which there are fewer resamples, but at least `_FEWEST`."""
_CELLS = 1_000_000
"""Number of weights in memory at once."""
_FEW_EXAMPLES, _FEW_OF_A_CLASS, _FEW_ERRORS = 50, 20, 5
"""With fewer than these, intervals are too narrow and p-values too small."""
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
        seed: For the draws.
        resamples: How many; None: 2,000, or fewer for very large sets, but at least 500.
        on_progress: Called with the number of resamples done, counting each model's, and the total.

    Returns:
        (models, resamples) for each metric; NaN if it is undefined in a resample, for instance without one of the
        classes.
    """
    count = len(models[0].labels)
    total = resamples or number_of_resamples(models)
    metrics = {name: np.empty((len(models), total)) for name in METRICS}
    for index, model in enumerate(models):  # one at a time, because each takes much memory; the draws are the same
        measure = _Measure(model, positive)
        done = 0
        for weights in _draws(count, total, seed):
            for name, values in measure(weights).items():
                metrics[name][index, done : done + len(weights)] = values
            done += len(weights)
            if on_progress is not None:
                on_progress(index * total + done, len(models) * total)
    return metrics


def number_of_resamples(models: Sequence[Predictions]) -> int:
    """How many resamples `resample` makes of these models' predictions."""
    count, classes = models[0].probabilities.shape
    return min(RESAMPLES, max(_FEWEST, _WORK // (count * len(models) * (1 if classes == 2 else classes))))


def resample_means(losses: Array, *, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Means of losses on the same resamples as `resample` draws from that seed.

    Args:
        losses: (models, examples), a loss for each example.

    Returns:
        (models, resamples).
    """
    count = losses.shape[1]
    return np.concatenate([losses @ weights.T / count for weights in _draws(count, resamples, seed)], axis=1)


def _draws(count: int, total: int, seed: int) -> Iterator[Array]:
    """How often each resample contains each example, in arrays of (some resamples, examples)."""
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // count)
    for start in range(0, total, step):
        rows = min(step, total - start)
        drawn = rng.integers(0, count, (rows, count))
        offsets = np.arange(rows)[:, None] * count
        yield np.bincount((drawn + offsets).ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def weakness(models: Sequence[Predictions]) -> str | None:
    """Why intervals and p-values over these test examples are unreliable; None: they are reliable.

    The bootstrap cannot draw examples that a small sample does not contain. With few examples, few of a class or few
    errors, its intervals contain the true value less often than their level says.

    Args:
        models: Predictions of one or more models for the same examples.
    """
    labels = models[0].labels
    rarest = int(np.bincount(labels, minlength=models[0].probabilities.shape[1]).min())
    errors = min(int((model.probabilities.argmax(axis=1) != labels).sum()) for model in models)
    if len(labels) < _FEW_EXAMPLES:
        return f"fewer than {_FEW_EXAMPLES} test examples"
    if rarest < _FEW_OF_A_CLASS:
        return f"fewer than {_FEW_OF_A_CLASS} test examples of a class"
    if errors < _FEW_ERRORS:
        return f"a model with fewer than {_FEW_ERRORS} errors"
    return None


def interval(values: Array) -> Interval:
    """The 95 % percentile interval of resampled values."""
    defined = values[~np.isnan(values)]
    if len(defined) < (1 - _MOST_UNDEFINED) * len(values):
        return Interval(None, None)
    low, high = np.percentile(defined, [2.5, 97.5])
    return Interval(float(low), float(high))


def p_value(differences: Array) -> float | None:
    """Two-sided p-value: twice the share of resampled differences on the far side of zero, counting the observed one.

    None if too many are undefined.
    """
    defined = differences[~np.isnan(differences)]
    if len(defined) < (1 - _MOST_UNDEFINED) * len(differences):
        return None
    tail = min((defined <= 0).sum(), (defined >= 0).sum())
    return min(1.0, 2 * (int(tail) + 1) / (len(defined) + 1))


class _Measure:
    """A model's metrics, as defined by `classification_metrics`, as functions of the examples' weights."""

    def __init__(self, model: Predictions, positive: int) -> None:
        truth, p = model.labels, model.probabilities
        classes = p.shape[1]
        predicted = p.argmax(axis=1)
        self._classes = [positive] if classes == 2 else list(range(classes))
        # (examples, classes): whether a class is the example's own, the predicted one, or both
        self._is_of = truth[:, None] == np.array(self._classes)
        is_called = predicted[:, None] == np.array(self._classes)
        self._counts = np.concatenate([self._is_of & is_called, self._is_of, is_called], axis=1).astype(np.float64)
        self._means = np.column_stack([predicted == truth, nll_per_example(truth, p)])
        has_all = len(np.unique(truth)) == classes
        self._ranked = [_Ranking(p[:, index], truth == index) for index in self._classes] if has_all else []

    def __call__(self, weights: Array) -> dict[str, Array]:
        """Each metric, (resamples,), for (resamples, examples) weights."""
        accuracy, nll = (weights @ self._means / weights.sum(axis=1, keepdims=True)).T
        return {"accuracy": accuracy, "f1": self._f1(weights), "roc_auc": self._roc_auc(weights), "nll": nll}

    def _f1(self, weights: Array) -> Array:
        hits, of, called = np.split(weights @ self._counts, 3, axis=1)
        occurs = of + called > 0
        with np.errstate(invalid="ignore"):
            per_class = np.where(occurs, 2 * hits / np.where(occurs, of + called, 1.0), 0.0)
            mean: Array = per_class.sum(axis=1) / occurs.sum(axis=1)
        return mean

    def _roc_auc(self, weights: Array) -> Array:
        """One class against the rest, averaged over classes; undefined if a class has no example."""
        if not self._ranked:
            return np.full(len(weights), np.nan)
        mean: Array = np.mean([ranking(weights) for ranking in self._ranked], axis=0)
        return mean


class _Ranking:
    """The probability that a positive example ranks above a negative one, with ties counted as one half.

    Args:
        scores: (examples,).
        is_positive: (examples,) bool.
    """

    def __init__(self, scores: Array, is_positive: NDArray[np.bool_]) -> None:
        self._order = np.argsort(scores, kind="stable")
        self._is_positive = is_positive[self._order].astype(np.float64)
        ordered = scores[self._order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self._groups = starts if len(starts) < len(scores) else None  # of equal scores

    def __call__(self, weights: Array) -> Array:
        ordered = weights[:, self._order]
        positives = ordered * self._is_positive
        negatives = ordered - positives
        if self._groups is not None:
            positives = np.add.reduceat(positives, self._groups, axis=1)
            negatives = np.add.reduceat(negatives, self._groups, axis=1)
        below = np.cumsum(negatives, axis=1)
        pairs = positives.sum(axis=1) * below[:, -1]
        below -= negatives / 2
        with np.errstate(invalid="ignore"):
            share: Array = np.einsum("ij,ij->i", positives, below) / np.where(pairs > 0, pairs, np.nan)
        return share
