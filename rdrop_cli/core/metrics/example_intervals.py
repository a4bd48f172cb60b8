"""Intervals of one model's metrics over its test examples, and what chance alone would show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdrop_cli.core.metrics.bootstrap import Interval, interval, resample
from rdrop_cli.core.metrics.calibration import calibration_error
from rdrop_cli.core.metrics.losses import brier_per_example

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rdrop_cli.core.metrics.predictions import Predictions

_RESAMPLES = 400
_MEANS = 2000
_WORK = 10_000_000
"""Limit on resamples x examples, above which there are fewer resamples."""
_FEWEST = 50
_LEVEL_Z = 1.959963984540054
"""97.5 % of a standard normal distribution are below it."""
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
    known["brier"] = interval(resampled_means(brier_per_example(predictions.labels, predictions.probabilities)))
    known["ece"] = _of_calibration_error(predictions)
    return known


def wilson(right: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not total:
        return 0.0, 1.0
    share, square = right / total, _LEVEL_Z**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = _LEVEL_Z * np.sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


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


def resampled_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(resamples,) means over resampled examples, of values or differences of (examples,)."""
    rng = np.random.default_rng(_SEED)
    rounds = max(_FEWEST, min(_MEANS, _WORK * 4 // max(1, len(values))))
    return np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(rounds)])


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
