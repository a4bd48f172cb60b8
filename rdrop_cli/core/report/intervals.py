"""Intervals of a run's metrics over its test examples, and what chance alone would show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdrop_cli.core.metrics.bootstrap import Interval, interval, p_value, resample
from rdrop_cli.core.metrics.calibration import calibration_error
from rdrop_cli.core.metrics.head_to_head import CheckpointDifference

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rdrop_cli.core.metrics.predictions import Predictions
    from rdrop_cli.core.report.run_documents import RunDocuments

_RESAMPLES = 400
_MEANS = 2000
_WORK = 10_000_000
"""Limit on resamples x examples, above which there are fewer resamples."""
_FEWEST = 50
LEVEL_Z = 1.959963984540054


def metric_intervals(
    found: Predictions, *, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, Interval]:
    """95 % intervals by metric: percentiles of the bootstrap, and for the calibration error, which resampling itself
    makes larger, the bootstrap's interval turned around the value.
    """
    drawn = resample([found], on_progress=on_progress)
    known = {name: interval(values[0]) for name, values in drawn.items()}
    if "brier" not in known:
        known["brier"] = interval(_means(_squares(found.labels, found.probabilities)))
    known["ece"] = _of_calibration_error(found)
    return known


def paired_gaps(first: RunDocuments, second: RunDocuments) -> dict[str, CheckpointDifference]:
    """The paired bootstrap of those metrics that are means over examples, raw and calibrated, by metric."""
    a, b = first.predictions["test"], second.predictions["test"]
    pairs = {"brier": (_squares(a.labels, a.probabilities), _squares(b.labels, b.probabilities))}
    own, other = first.calibrated("test"), second.calibrated("test")
    if own is not None and other is not None:
        pairs["brier_calibrated"] = _squares(a.labels, own), _squares(b.labels, other)
        pairs["nll_calibrated"] = _surprises(a.labels, own), _surprises(b.labels, other)
    gaps = {}
    for name, (of_first, of_second) in pairs.items():
        drawn = _means(of_first - of_second)
        gaps[name] = CheckpointDifference(float((of_first - of_second).mean()), interval(drawn), p_value(drawn))
    return gaps


def wilson(right: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not total:
        return 0.0, 1.0
    share, square = right / total, LEVEL_Z**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = LEVEL_Z * np.sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def error_by_chance(found: Predictions, seed: int = 0) -> float | None:
    """The calibration error that a perfectly calibrated model with these probabilities stays below 95 times in 100."""
    rng = np.random.default_rng(seed)
    rounds = _rounds(len(found.labels))
    if not rounds:
        return None
    sums = np.cumsum(found.probabilities, axis=1)
    errors = []
    for _ in range(rounds):
        drawn = (rng.random((len(sums), 1)) * sums[:, -1:] > sums).sum(axis=1)
        errors.append(calibration_error(np.minimum(drawn, sums.shape[1] - 1), found.probabilities))
    return float(np.percentile(errors, 95))


def _means(values: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Means over resampled examples."""
    rng = np.random.default_rng(seed)
    rounds = max(_FEWEST, min(_MEANS, _WORK * 4 // max(1, len(values))))
    return np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(rounds)])


def _squares(labels: NDArray[np.int64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each example's part of the Brier score."""
    squares: NDArray[np.float64] = np.square(p).sum(axis=1) - 2 * p[np.arange(len(p)), labels] + 1
    return squares


def _surprises(labels: NDArray[np.int64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each example's part of the NLL."""
    surprises: NDArray[np.float64] = -np.log(np.maximum(p[np.arange(len(p)), labels], np.finfo(np.float64).tiny))
    return surprises


def _of_calibration_error(found: Predictions, seed: int = 0) -> Interval:
    rounds = _rounds(len(found.labels))
    if not rounds:
        return Interval(None, None)
    rng = np.random.default_rng(seed)
    size = len(found.labels)
    drawn = [rng.integers(0, size, size) for _ in range(rounds)]
    errors = [calibration_error(found.labels[rows], found.probabilities[rows]) for rows in drawn]
    value = calibration_error(found.labels, found.probabilities)
    low, high = np.percentile(errors, [2.5, 97.5])
    return Interval(max(0.0, float(2 * value - high)), max(0.0, float(2 * value - low)))


def _rounds(examples: int) -> int:
    rounds = min(_RESAMPLES, _WORK // max(1, examples))
    return rounds if rounds >= _FEWEST else 0
