"""Intervals of one model's metrics over its test examples, and what chance alone would show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdrop_cli.core.metrics.bootstrap import Interval, interval, number_of_resamples, resample, resample_means
from rdrop_cli.core.metrics.calibration import calibration_error
from rdrop_cli.core.metrics.losses import brier_per_example

if TYPE_CHECKING:
    from collections.abc import Callable

    from rdrop_cli.core.metrics.predictions import Predictions

_RESAMPLES = 400
_WORK = 10_000_000
"""Limit on resamples x examples, above which there are fewer resamples."""
_FEWEST = 50
_SEED = 0


def metric_intervals(
    predictions: Predictions, *, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, Interval]:
    """95 % intervals by metric, as `resample` names them, and of `brier` and `ece`.

    They are percentiles of the bootstrap. That of the calibration error (ECE), which resampling itself makes larger, is
    the bootstrap's interval mirrored at the value (the basic bootstrap of Davison and Hinkley 1997).

    Args:
        on_progress: Called with the number of resamples measured so far, and of all.
    """
    drawn = resample([predictions], on_progress=on_progress)
    known = {name: interval(values[0]) for name, values in drawn.items()}
    brier = brier_per_example(predictions.labels, predictions.probabilities)
    known["brier"] = interval(resample_means(brier[None], resamples=number_of_resamples([predictions]))[0])
    known["ece"] = _of_calibration_error(predictions)
    return known


def wilson(right: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; of nothing, all that a share can be."""
    if not total:
        return 0.0, 1.0
    from scipy.stats import binomtest

    bounds = binomtest(right, total).proportion_ci(method="wilson")
    return float(bounds.low), float(bounds.high)


def error_by_chance(predictions: Predictions) -> float | None:
    """The calibration error that a perfectly calibrated model with these probabilities stays below 95 times in 100."""
    rng = np.random.default_rng(_SEED)
    rounds = _rounds(len(predictions.labels))
    if not rounds:
        return None
    sums = np.cumsum(predictions.probabilities, axis=1)
    errors = []
    for _ in range(rounds):
        drawn = (rng.random((len(sums), 1)) * sums[:, -1:] > sums).sum(axis=1)
        errors.append(calibration_error(np.minimum(drawn, sums.shape[1] - 1), predictions.probabilities))
    return float(np.percentile(errors, 95))


def _of_calibration_error(predictions: Predictions) -> Interval:
    rounds = _rounds(len(predictions.labels))
    if not rounds:
        return Interval(None, None)
    rng = np.random.default_rng(_SEED)
    size = len(predictions.labels)
    drawn = [rng.integers(0, size, size) for _ in range(rounds)]
    errors = [calibration_error(predictions.labels[rows], predictions.probabilities[rows]) for rows in drawn]
    value = calibration_error(predictions.labels, predictions.probabilities)
    low, high = np.percentile(errors, [2.5, 97.5])
    return Interval(max(0.0, float(2 * value - high)), max(0.0, float(2 * value - low)))


def _rounds(examples: int) -> int:
    rounds = min(_RESAMPLES, _WORK // max(1, examples))
    return rounds if rounds >= _FEWEST else 0
