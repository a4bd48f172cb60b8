"""Tests and intervals against scipy, hand-worked tables, and simulation."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from rdrop_cli.core.metrics.significance import holm, mcnemar, paired_t, seeds_needed

DIFFERENCES = [0.012, -0.004, 0.021, 0.008, 0.015]


def test_the_paired_t_test_is_scipys():
    base = np.array([0.80, 0.81, 0.79, 0.82, 0.80])
    found, expected = paired_t(DIFFERENCES), stats.ttest_rel(base + DIFFERENCES, base)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_the_paired_t_interval_by_hand():
    # mean 0.0104; sd 0.0093969 from squared deviations 2.56e-6 + 2.0736e-4 + 1.1236e-4 + 5.76e-6 + 2.116e-5 over 4;
    # the 97.5 % point of t with 4 degrees of freedom is 2.776445
    found = paired_t(DIFFERENCES)
    sd = math.sqrt((2.56e-6 + 2.0736e-4 + 1.1236e-4 + 5.76e-6 + 2.116e-5) / 4)
    half = 2.776445 * sd / math.sqrt(5)
    assert (found.n, found.mean, found.sd) == (5, pytest.approx(0.0104), pytest.approx(sd))
    assert (found.low, found.high) == pytest.approx((0.0104 - half, 0.0104 + half), rel=1e-6)


def test_no_difference_at_all_is_exactly_that():
    found = paired_t([0.0, 0.0, 0.0])
    assert (found.mean, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("differences", [[0.01], [0.1 + 0.2 - 0.3, 0.1 + 0.2 - 0.3], [0.3 - 0.1, 0.2]])
def test_without_spread_there_is_no_test(differences):
    found = paired_t(differences)
    assert found.mean == pytest.approx(differences[0])
    assert (found.low, found.high, found.p_value) == (None, None, None)


def test_holm_by_hand():
    # sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and never falling: .02 .03 .06 .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_is_not_defined_and_stops_at_one():
    assert holm([0.3, None, 0.6]) == [pytest.approx(0.6), None, pytest.approx(0.6)]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_mcnemars_exact_test_by_hand():
    # 9 examples only the first gets right, 1 only the second: twice the chance of at most 1 in 10 tosses, 2 * 11 / 1024
    first = [True] * 9 + [False] + [True] * 20 + [False] * 5
    second = [False] * 9 + [True] + [True] * 20 + [False] * 5
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (9, 1)
    assert found.p_value == pytest.approx(22 / 1024)
    assert mcnemar(second, first).p_value == found.p_value
    assert mcnemar(first, first).p_value == 1.0


@pytest.mark.parametrize(("effect", "pairs"), [(1.0, 10), (0.8, 15), (0.5, 34), (0.2, 199)])
def test_the_pairs_needed_are_those_of_power_tables(effect, pairs):
    # Two-sided 5 %, 80 % power, paired: the values that tables and power calculators print
    assert seeds_needed(effect, 1.0) == pairs
    assert seeds_needed(-effect * 0.01, 0.01) == pairs


def test_the_pairs_needed_reach_their_power_in_a_simulation():
    effect = 0.7
    pairs = seeds_needed(effect, 1.0)
    rng = np.random.default_rng(0)
    draws = rng.normal(effect, 1.0, (20_000, pairs))
    rejected = stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05
    assert 0.79 < rejected.mean() < 0.84
    fewer = stats.ttest_1samp(draws[:, :-1], 0.0, axis=1).pvalue < 0.05
    assert fewer.mean() < 0.805


@pytest.mark.parametrize(
    ("effect", "level"), [(0.3, 0.05), (1.0, 0.05 / 12), (3.78, 0.05), (4.04, 0.05 / 12), (5.8, 0.05 / 12)]
)
def test_the_power_is_that_of_an_integral_over_the_estimated_deviation(effect, level):
    # scipy.stats.nct gives no number for some of these
    def power(n):
        critical = stats.t.ppf(1 - level / 2, n - 1)

        def given(variance):  # in units of the true one, times n - 1
            sd = np.sqrt(variance / (n - 1))
            shift = effect * np.sqrt(n)
            rejected = stats.norm.sf(critical * sd - shift) + stats.norm.cdf(-critical * sd - shift)
            return rejected * stats.chi2.pdf(variance, n - 1)

        return integrate.quad(given, 0, stats.chi2.ppf(1 - 1e-12, n - 1), limit=500)[0]

    pairs = seeds_needed(effect, 1.0, level=level)
    assert power(pairs) >= 0.8 > power(pairs - 1)


def test_no_number_of_pairs_shows_nothing():
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(0.001, 1.0) is None
    assert seeds_needed(0.01, 0.0) is None
    assert seeds_needed(1e6, 1.0) == 2
