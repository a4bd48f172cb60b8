"""Tests and intervals for paired measurements, and how many of them a difference needs to be seen."""

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
"""Differences that vary by less than this share of their mean are the same but for rounding."""


@dataclass(frozen=True)
class PairedT:
    """The mean of paired differences under Student's t.

    Attributes:
        sd: Standard deviation (n - 1); None for fewer than two differences.
        low, high: 95 % interval of the mean; None where there is none.
        p_value: Two-sided, of no difference; None where the test is not defined.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    p_value: float | None


def paired_t(differences: ArrayLike) -> PairedT:
    """Student's paired t-test with its interval.

    Differences that are all the same have no spread to judge by: zeros give the interval [0, 0] and p = 1, others none.

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
    """p-values corrected for their number, so that the chance of any false finding stays within the level.

    Holm's step-down: the smallest is multiplied by m, the next by m - 1 and so on, never falling, at most 1
    (Scandinavian Journal of Statistics 6, 1979). Tests that are not defined do not count.
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
    """McNemar's exact test: among the examples on which two classifiers differ, each is as likely to be right.

    Args:
        first_correct: (examples,) bool.
        second_correct: As `first_correct`, of the same examples.
    """
    first, second = np.asarray(first_correct, dtype=bool), np.asarray(second_correct, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    p_value = float(stats.binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0
    return McNemar(only_first, only_second, p_value)


def seeds_needed(mean: float, sd: float, *, level: float = LEVEL) -> int | None:
    """How many pairs a two-sided paired t-test needs to find a difference of this size in four of five comparisons.

    Args:
        mean: The difference.
        sd: Standard deviation of a pair's difference.
        level: Of the test.

    Returns:
        None when more than `MOST_SEEDS` would be needed, as for no difference at all.
    """
    if not mean or not sd:
        return None
    effect = abs(mean) / sd
    pairs = bisect.bisect_left(
        range(MOST_SEEDS + 1), POWER, lo=2, key=lambda n: _power(effect, n, level)
    )  # grows with n
    return pairs if pairs <= MOST_SEEDS else None


def _power(effect: float, n: int, level: float) -> float:
    """The chance that a two-sided paired t-test rejects, on the side of the effect; on the other it is next to nothing.

    The chance given the estimated sd, averaged over that one's distribution; SciPy's noncentral t, the direct way, is
    not a number for some large effects.
    """
    degrees = n - 1
    critical = special.stdtrit(degrees, 1 - level / 2)
    sd = np.sqrt(2 * special.gammaincinv(degrees / 2, _QUANTILES) / degrees)  # in units of the true one
    shift = effect * np.sqrt(n)
    return float(special.ndtr(shift - critical * sd).mean())
