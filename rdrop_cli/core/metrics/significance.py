"""Tests and intervals for paired measurements, and the number of pairs needed to detect a difference."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special, stats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

CONFIDENCE = 0.95
LEVEL = 0.05
POWER = 0.8
MOST_SEEDS = 1000
_QUANTILES = (np.arange(2000) + 0.5) / 2000
_NO_SPREAD = 1e-12
"""Differences whose standard deviation is below this share of their mean differ only by rounding."""


@dataclass(frozen=True)
class PairedT:
    """The mean of paired differences under Student's t.

    Attributes:
        sd: Standard deviation (n - 1); None for fewer than two differences.
        low, high: 95 % interval of the mean; None if it is undefined.
        p_value: Two-sided, for a mean difference of zero; None if the test is undefined.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    p_value: float | None


def paired_t(differences: ArrayLike) -> PairedT:
    """Student's paired t-test with its interval.

    If all differences are equal, the test is undefined for lack of spread: zeros give the interval [0, 0] and p = 1,
    other values neither.

    Args:
        differences: (n,), one for each pair, at least one.
    """
    values = np.asarray(differences, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return PairedT(len(values), mean, None, None, None, None)
    if not values.any():
        return PairedT(len(values), 0.0, 0.0, 0.0, 0.0, 1.0)
    sd = float(values.std(ddof=1))
    if sd <= _NO_SPREAD * abs(mean):
        return PairedT(len(values), mean, 0.0, None, None, None)
    test = stats.ttest_1samp(values, 0.0)
    interval = test.confidence_interval(CONFIDENCE)
    return PairedT(len(values), mean, sd, float(interval.low), float(interval.high), float(test.pvalue))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number, so that the probability of any false finding stays within the level.

    Holm's step-down method: the smallest is multiplied by m, the next by m - 1 and so on; the results never decrease
    and are at most 1 (Scandinavian Journal of Statistics 6, 1979). Undefined tests (None) are not counted.
    """
    defined = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(defined):
        highest = max(highest, min(1.0, (len(defined) - rank) * p))
        corrected[index] = highest
    return corrected


@dataclass(frozen=True)
class McNemar:
    """Examples that only one of two classifiers gets right, and the exact two-sided p-value."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first_correct: ArrayLike, second_correct: ArrayLike) -> McNemar:
    """McNemar's exact test of whether each of two classifiers is equally often the only correct one.

    Args:
        first_correct: (examples,) bool.
        second_correct: (examples,) bool, for the same examples.
    """
    first, second = np.asarray(first_correct, dtype=bool), np.asarray(second_correct, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    p_value = float(stats.binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0
    return McNemar(only_first, only_second, p_value)


def seeds_needed(mean: float, sd: float, *, level: float = LEVEL) -> int | None:
    """How many pairs a two-sided paired t-test needs to detect a difference of this size with 80 % power.

    Args:
        mean: The mean difference.
        sd: Standard deviation of the pairs' differences.
        level: Significance level of the test.

    Returns:
        None if more than `MOST_SEEDS` would be needed, or if there is no difference.
    """
    if not mean or not sd:
        return None
    effect = abs(mean) / sd
    pairs = bisect.bisect_left(
        range(MOST_SEEDS + 1), POWER, lo=2, key=lambda n: _power(effect, n, level)
    )  # bisection works because power increases with n
    return pairs if pairs <= MOST_SEEDS else None


def _power(effect: float, n: int, level: float) -> float:
    """The probability that a two-sided paired t-test rejects on the side of the effect; the other side is negligible.

    It is the probability given the estimated sd, averaged over the distribution of that estimate. SciPy's noncentral t,
    the direct way, gives NaN for some large effects.
    """
    degrees = n - 1
    critical = special.stdtrit(degrees, 1 - level / 2)
    sd = np.sqrt(2 * special.gammaincinv(degrees / 2, _QUANTILES) / degrees)  # in units of the true one
    shift = effect * np.sqrt(n)
    return float(special.ndtr(shift - critical * sd).mean())
