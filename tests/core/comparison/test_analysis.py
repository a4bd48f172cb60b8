"""What outcomes are said to show: no more than they do."""

import numpy as np
import pytest

from rdrop_cli.core.comparison import analysis
from rdrop_cli.core.comparison.analysis import weigh
from rdrop_cli.core.comparison.differences import Difference, corrected
from rdrop_cli.core.comparison.differences import compare_arms as uncorrected
from rdrop_cli.core.comparison.grid import CellOutcome
from rdrop_cli.core.comparison.verdict import verdict
from rdrop_cli.core.metrics.bootstrap import Interval
from rdrop_cli.core.metrics.classification import classification_metrics
from rdrop_cli.core.metrics.predictions import Predictions
from rdrop_cli.core.metrics.significance import holm


def compare(metric: str, values, examples=None) -> list[Difference]:
    """Differences of the metric that was chosen before."""
    return corrected(uncorrected(metric, values, examples))


def simulated(comparisons: int, seeds: int, difference: float, arms: int = 2):
    """Comparisons of synthetic metrics: pairs share a seed's luck, arms have their own."""
    rng = np.random.default_rng(1)
    for _ in range(comparisons):
        luck = rng.normal(0.8, 0.02, seeds)
        values = {"plain": (luck + rng.normal(0, 0.01, seeds)).tolist()}
        for index in range(1, arms):
            values[f"arm{index}"] = (luck + difference + rng.normal(0, 0.01, seeds)).tolist()
        yield values


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_arms_that_do_not_differ_are_told_apart_in_five_of_a_hundred_comparisons(seeds):
    found = [compare("f1", values)[0] for values in simulated(2000, seeds, 0.0)]
    assert 0.035 < np.mean([gap.test.p_value < 0.05 for gap in found]) < 0.065
    claims = [verdict(gap.metric, "plain", [gap]).startswith("arm1 is") for gap in found[:100]]
    assert claims == [gap.test.p_value < 0.05 for gap in found[:100]]


@pytest.mark.parametrize("difference", [0.0, 0.02, -0.005])
def test_the_interval_covers_the_true_difference_in_95_of_a_hundred(difference):
    tests = [compare("f1", values)[0].test for values in simulated(2000, 5, difference)]
    assert 0.935 < np.mean([test.low <= difference <= test.high for test in tests]) < 0.965


def test_with_four_arms_that_do_not_differ_any_is_told_apart_in_five_of_a_hundred_at_most():
    found = [compare("f1", values) for values in simulated(2000, 5, 0.0, arms=4)]
    assert np.mean([min(gap.p_holm for gap in gaps) < 0.05 for gaps in found]) < 0.06
    assert np.mean([min(gap.test.p_value for gap in gaps) < 0.05 for gaps in found]) > 0.08, "what Holm corrects"


def outcome(arm: str, seed: int, shift: float, labels=None, cost=None) -> CellOutcome:
    """A cell of a model that is the better the higher its shift."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(200) % 2) if labels is None else labels
    score = rng.normal(0, 1, len(labels)) + shift * (2 * labels - 1)
    p = 1 / (1 + np.exp(-score))
    test = Predictions(labels, np.column_stack([1 - p, p]))
    metrics = classification_metrics(test.labels, test.probabilities)
    splits = {"test": metrics, "validation": metrics}
    return CellOutcome(arm, seed, None, splits, test, cost or {"seconds": 10.0 + seed}, validation=test)


LABELS = np.arange(200) % 2


def outcomes(shifts: dict[str, float], seeds: int) -> list[CellOutcome]:
    return [outcome(arm, seed, shift, LABELS) for seed in range(seeds) for arm, shift in shifts.items()]


def test_equal_arms_differ_by_exactly_nothing():
    found = weigh(outcomes({"plain": 1.0, "again": 1.0}, 4), "f1")
    for gap in found.differences:
        assert (gap.test.mean, gap.test.low, gap.test.high, gap.p_holm) == (0.0, 0.0, 0.0, 1.0)
        assert gap.examples == Interval(0.0, 0.0)
    assert found.verdict == ["again and plain have the same test F1 with every seed."]


def test_a_better_arm_is_called_better_and_a_worse_one_worse():
    found = weigh(outcomes({"plain": 0.8, "good": 1.6, "bad": 0.1}, 5), "nll")
    good, bad = found.verdict
    assert good.startswith("good is better than plain in test NLL: -0.")
    assert bad.startswith("bad is worse than plain in test NLL: +0.")
    assert "after Holm's correction for 2 arms" in good
    assert "No evidence" not in good + bad
    by_metric = {gap.metric: gap for gap in found.differences if gap.arm == "good"}
    assert by_metric["accuracy"].test.mean > 0 > by_metric["nll"].test.mean
    assert by_metric["accuracy"].examples.low > 0


def test_the_summary_is_the_mean_and_the_deviation_over_seeds():
    cells = outcomes({"plain": 1.0, "other": 1.1}, 3)
    found = weigh(cells, "f1").summaries["other"]["accuracy"]
    values = [cell.metrics["test"]["accuracy"] for cell in cells if cell.arm == "other"]
    assert (found.n, found.mean) == (3, pytest.approx(sum(values) / 3))
    assert found.sd == pytest.approx(np.std(values, ddof=1))


def test_pairs_are_of_the_same_seed():
    cells = outcomes({"plain": 1.0, "other": 1.3}, 3)
    gap = next(gap for gap in weigh(cells, "f1").differences if gap.metric == "nll")
    nll = {(cell.arm, cell.seed): cell.metrics["test"]["nll"] for cell in cells}
    pairs = [nll["other", seed] - nll["plain", seed] for seed in range(3)]
    assert gap.test.sd == pytest.approx(np.std(pairs, ddof=1))
    assert gap.test.mean == pytest.approx(np.mean(pairs))


def test_the_interval_over_examples_is_of_the_mean_over_seeds():
    cells = outcomes({"plain": 1.0, "other": 1.3}, 3)
    gap = next(gap for gap in weigh(cells, "f1").differences if gap.metric == "accuracy")
    is_right = {
        arm: np.mean([cell.test.probabilities.argmax(axis=1) == LABELS for cell in cells if cell.arm == arm], axis=0)
        for arm in ("plain", "other")
    }
    drawn = np.random.default_rng(0).integers(0, 200, (2000, 200))
    means = (is_right["other"] - is_right["plain"])[drawn].mean(axis=1)
    assert (gap.examples.low, gap.examples.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_a_difference_that_other_examples_may_not_show_is_called_so():
    gap = compare("f1", {"plain": [0.80, 0.81, 0.80], "b": [0.82, 0.83, 0.8201]}, {"b": Interval(-0.01, 0.05)})[0]
    said = verdict(gap.metric, "plain", [gap])
    assert said.startswith("b is better than plain in test F1: +0.02")
    assert said.endswith("This may not hold for other test examples: the interval over them is -0.0100 to +0.0500.")


def test_no_evidence_names_the_seeds_that_would_be_needed():
    gap = compare("f1", {"plain": [0.80, 0.81, 0.79], "b": [0.81, 0.80, 0.80]})[0]
    said = verdict(gap.metric, "plain", [gap])
    assert said.startswith("No evidence of a difference in test F1 between b and plain: +0.0033 (95 % interval over 3")
    assert said.endswith(f"If it were really this large, showing it would take about {gap.seeds_needed} seeds.")
    assert gap.seeds_needed > 3


def test_other_metrics_that_differ_are_mentioned_behind_the_chosen_one():
    found = weigh(outcomes({"plain": 0.8, "good": 1.6}, 5), "f1")
    assert found.verdict[0].startswith("good is better than plain in test F1: +0.")
    assert " Among the other metrics, corrected for their 2 tests: accuracy +0." in found.verdict[0]
    assert "(better, p = " in found.verdict[0]
    three = weigh(outcomes({"plain": 1.6, "good": 1.61, "bad": 0.4}, 5), "f1").verdict
    assert "Among the other metrics, corrected for their 4 tests: accuracy -0." in three[1]
    assert "(worse, p = " in three[1]


def test_another_metric_that_other_examples_may_not_show_is_not_mentioned():
    values = {"plain": [0.50, 0.52, 0.51], "b": [0.40, 0.43, 0.41]}
    chosen = compare("f1", {"plain": [0.8, 0.8, 0.8], "b": [0.81, 0.79, 0.8]})
    for examples, is_mentioned in ((Interval(-0.2, -0.01), True), (Interval(-0.2, 0.01), False)):
        other = compare("accuracy", values, {"b": examples})
        assert other[0].p_holm < 0.05
        assert ("accuracy -0.0967 (worse" in verdict("f1", "plain", chosen + other)) == is_mentioned


def test_what_only_holm_takes_away_is_no_evidence():
    base = [0.80, 0.81, 0.80, 0.82]
    values = {"plain": base, "b": [v + d for v, d in zip(base, [0.01, 0.03, 0.02, 0.03], strict=True)]}
    values |= {name: [v + d for v, d in zip(base, [0.01, -0.01, 0.0, 0.001], strict=True)] for name in "cd"}
    gap = compare("f1", values)[0]
    assert gap.test.p_value < 0.05 <= gap.p_holm
    said = verdict(gap.metric, "plain", [gap])
    assert said.startswith("No evidence")
    assert f"p = {gap.test.p_value:.2g}; after Holm's correction for 3 arms {gap.p_holm:.2g})" in said
    assert gap.seeds_needed > 4, "the power is that of the corrected test"


def test_a_difference_of_zero_needs_no_seeds():
    same = uncorrected("f1", {"plain": [0.8, 0.8, 0.8], "b": [0.81, 0.79, 0.8]})
    assert verdict("f1", "plain", corrected(same)).endswith(").")


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("f1", [("f1",), ("accuracy", "roc_auc"), ("nll", "brier", "nll_calibrated", "brier_calibrated")]),
        ("nll", [("nll",), ("accuracy", "f1", "roc_auc"), ("brier", "nll_calibrated", "brier_calibrated")]),
    ],
)
def test_the_chosen_metric_the_losses_and_the_rest_are_families_of_all_arms(metric, expected):
    found = weigh(outcomes({"plain": 0.8, "b": 0.9, "c": 1.0}, 4), metric)
    assert {gap.metric for gap in found.differences} == {name for family in expected for name in family}
    for family in expected:
        members = [gap for gap in found.differences if gap.metric in family]
        assert len(members) == 2 * len(family)
        assert {gap.tests for gap in members} == {len(members)}
        assert [gap.p_holm for gap in members] == holm([gap.test.p_value for gap in members])


def test_in_comparisons_of_two_equal_arms_the_other_metrics_find_something_in_five_of_a_hundred_at_most():
    rng = np.random.default_rng(2)
    claims = 0
    for _ in range(1000):
        shared = rng.normal(0, 1, 5)
        metrics = [shared * 0.8 + rng.normal(0, 0.6, 5) for _ in range(3)]
        values = [{"plain": [0.0] * 5, "b": metric.tolist()} for metric in metrics]
        family = corrected([uncorrected("nll", value)[0] for value in values])
        claims += any(gap.p_holm < 0.05 for gap in family)
    assert claims / 1000 < 0.065


def test_without_an_interval_over_examples_the_verdict_says_so():
    gap = compare("f1", {"plain": [0.80, 0.81, 0.80], "b": [0.82, 0.83, 0.8201]})[0]
    assert verdict("f1", "plain", [gap]).endswith("too few of a class to give an interval over examples.")


def test_one_seed_shows_nothing():
    found = weigh(outcomes({"plain": 0.5, "good": 3.0}, 1), "f1")
    assert "One seed shows nothing" in found.verdict[0]
    assert found.differences[0].p_holm is None
    assert found.summaries["good"]["f1"].sd is None


def test_an_undefined_metric_stays_undefined():
    cells = [outcome(arm, seed, 1.0, np.zeros(20, dtype=int)) for seed in range(2) for arm in ("plain", "b")]
    found = weigh(cells, "roc_auc")
    assert found.summaries["b"]["roc_auc"].mean is None
    assert found.verdict == ["b and plain cannot be compared: test ROC-AUC is undefined for a seed."]


def test_differences_without_spread_are_not_tested():
    gap = compare("accuracy", {"plain": [0.5, 0.75], "b": [0.625, 0.875]})[0]
    assert "+0.1250 with every seed, so there is no spread to test by" in verdict(gap.metric, "plain", [gap])


def test_times_leave_out_runs_that_were_interrupted():
    cells = [
        outcome("plain", 0, 1.0, LABELS, {"seconds": 10.0}),
        outcome("plain", 1, 1.0, LABELS, {"seconds": 1.0, "resumed_from_step": 50}),
        outcome("plain", 2, 1.0, LABELS, {"seconds": 14.0}),
    ]
    assert analysis._seconds(cells) == 12.0
    assert analysis._seconds(cells[1:2]) is None
