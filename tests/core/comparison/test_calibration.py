"""What is left of a gain once every arm has a temperature, and what several seeds give together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rdrop_cli.core.comparison.analysis import weigh
from rdrop_cli.core.comparison.calibration import calibrate, ensemble, why_unknown
from rdrop_cli.core.comparison.differences import compare_arms, corrected
from rdrop_cli.core.comparison.grid import CellOutcome
from rdrop_cli.core.comparison.verdict import verdict
from rdrop_cli.core.metrics.calibration import at_temperature, brier_score, fit_temperature
from rdrop_cli.core.metrics.classification import classification_metrics
from rdrop_cli.core.metrics.predictions import Predictions, softmax

RNG = np.random.default_rng(3)
LABELS = {split: RNG.integers(2, size=300) for split in ("validation", "test")}
SCORES = {
    (split, seed): (2 * LABELS[split] - 1) * 0.8 + RNG.normal(size=300)
    for split in LABELS
    for seed in range(4)
}  # fmt: skip


def cell(arm: str, seed: int, sharper: float = 1.0, better: float = 0.0, *, old: bool = False) -> CellOutcome:
    """A run whose logits are `sharper` times those of another, and shifted to the true class by `better`."""
    made = {}
    for split, labels in LABELS.items():
        score = sharper * (1 + 0.05 * seed) * (SCORES[split, seed] + better * (2 * labels - 1))
        made[split] = Predictions(labels, softmax(np.column_stack([-score, score])))
    metrics = {split: classification_metrics(found.labels, found.probabilities) for split, found in made.items()}
    validation = None if old else made["validation"]
    return CellOutcome(arm, seed, Path("run"), metrics, made["test"], {"seconds": 1.0}, validation=validation)


def test_a_temperature_comes_from_validation_and_is_applied_to_test():
    made = cell("plain", 0, sharper=3.0)
    found = calibrate(made.test, made.validation).metrics
    fitted = fit_temperature(made.validation.labels, made.validation.probabilities).value
    after = at_temperature(made.test.probabilities, fitted)
    assert found["temperature"] == fitted > 2
    assert found["brier_calibrated"] == brier_score(made.test.labels, after)
    assert found["nll_calibrated"] == pytest.approx(-np.log(after[np.arange(300), made.test.labels]).mean())
    assert found["nll"] == pytest.approx(made.metrics["test"]["nll"])


def test_the_losses_are_those_whose_means_are_shown():
    found = calibrate(cell("plain", 0).test, cell("plain", 0).validation)
    for name, losses in found.losses.items():
        assert losses.mean() == pytest.approx(found.metrics[name])


def test_of_a_gain_that_is_only_calibration_a_temperature_leaves_nothing():
    found = weigh([cell(arm, seed, by) for seed in range(4) for arm, by in (("sharp", 4.0), ("plain", 1.0))], "f1")
    gaps = {gap.metric: gap for gap in found.differences}
    assert gaps["nll"].mean < -0.1
    assert gaps["nll_calibrated"].mean == pytest.approx(0.0, abs=1e-9)
    assert f"Test NLL: {gaps['nll'].mean:+.4f} (better, p = " in found.verdict[0]
    assert found.verdict[0].endswith("so there is no evidence that anything of that gain is left.")


def test_of_a_gain_in_what_is_known_a_temperature_leaves_something():
    found = weigh([cell(a, s, 1.5, by) for s in range(4) for a, by in (("plain", 0.0), ("good", 0.4))], "f1")
    gaps = {gap.metric: gap for gap in found.differences}
    assert gaps["nll_calibrated"].mean < -0.02
    share = gaps["nll_calibrated"].mean / gaps["nll"].mean
    assert found.verdict[0].endswith(f"both corrected for 4 tests), so {share:.0%} of that gain is left.")


def test_the_interval_over_examples_of_a_calibrated_loss_is_a_bootstrap_with_fixed_temperatures():
    cells = [cell(arm, seed, by) for seed in range(3) for arm, by in (("plain", 3.0), ("b", 1.2))]
    gap = next(gap for gap in weigh(cells, "f1").differences if gap.metric == "brier_calibrated")
    losses = {arm: [] for arm in ("plain", "b")}
    for each in cells:
        fitted = fit_temperature(each.validation.labels, each.validation.probabilities).value
        p = at_temperature(each.test.probabilities, fitted)
        losses[each.arm].append(((p - np.eye(2)[each.test.labels]) ** 2).sum(axis=1))
    difference = np.mean(losses["b"], axis=0) - np.mean(losses["plain"], axis=0)
    drawn = np.random.default_rng(0).integers(0, 300, (2000, 300))
    low, high = np.percentile(difference[drawn].mean(axis=1), [2.5, 97.5])
    assert (gap.examples.low, gap.examples.high) == pytest.approx((low, high))


def test_disagreement_is_the_share_of_labels_that_differ_between_two_runs():
    made = [
        replace(cell("plain", seed), test=Predictions(np.zeros(4, np.int64), p))
        for seed, p in enumerate(np.eye(2)[np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 1]])].clip(0.1, 0.9))
    ]
    assert ensemble(made).disagreement == pytest.approx((0.25 + 0.75 + 0.5) / 3)


def test_runs_of_earlier_versions_are_compared_without_a_temperature():
    cells = [cell(a, s, by, old=a == "plain") for s in range(3) for a, by in (("plain", 4.0), ("b", 1.0))]
    found = weigh(cells, "f1")
    assert found.summaries["plain"]["nll_calibrated"].mean is None
    assert found.summaries["plain"]["brier"].mean > 0
    gaps = {gap.metric: gap for gap in found.differences}
    assert gaps["nll_calibrated"].test is None
    assert gaps["nll_calibrated"].examples.low is None
    assert gaps["nll"].tests == 2
    assert found.verdict[0].endswith(
        "; what a temperature would leave of it is not known, because some of these runs kept no validation"
        " predictions."
    )
    assert found.ensembles["plain"].metrics["temperature"] is None


def test_a_temperature_that_could_not_be_fitted_leaves_nothing_known():
    cells = [cell(arm, seed, by) for seed in range(4) for arm, by in (("plain", 4.0), ("b", 1.0))]
    few = [replace(each, validation=first_of(each.validation, 49)) for each in cells]
    said = weigh(few, "f1").verdict[0]
    assert said.endswith("is not known, because none could be fitted for these runs.")
    assert "is left" not in said, "the values at temperature 1 are the raw ones"


def test_why_it_is_not_known_what_a_temperature_makes_of_runs():
    test = cell("plain", 0).test
    known, old, unfitted = (calibrate(test, validation) for validation in (test, None, first_of(test, 49)))
    assert why_unknown([known, known]) is None
    assert why_unknown([old, old]) == "these runs kept no validation predictions"
    assert why_unknown([known, unfitted]) == "none could be fitted for some of these runs"


def first_of(predictions: Predictions, count: int) -> Predictions:
    return Predictions(predictions.labels[:count], predictions.probabilities[:count])


def test_of_a_gain_that_only_the_correction_takes_away_the_figures_are_said():
    raw = compare_arms("nll", {"plain": [0.60, 0.62, 0.65], "b": [0.50, 0.55, 0.53]})[0]
    left = compare_arms("nll_calibrated", {"plain": [0.50, 0.51, 0.52], "b": [0.49, 0.51, 0.515]})[0]
    rest = [replace(left, arm=arm) for arm in "cdefg"]
    raw, left, *_ = corrected([raw, left, *rest])
    assert raw.test.p_value < 0.05 <= raw.p_holm
    chosen = corrected(compare_arms("f1", {"plain": [0.8, 0.8, 0.8], "b": [0.81, 0.79, 0.8]}))
    said = verdict("f1", "plain", [*chosen, raw, left])
    assert said.endswith(
        f" Test NLL: -0.0967 (p = {raw.p_holm:.2g}); after a temperature for each run, -0.0050"
        f" (p = {left.p_holm:.2g}; both corrected for 7 tests)."
    )


def test_a_gain_that_seeds_do_not_show_is_not_spoken_of():
    found = weigh([cell(arm, seed) for seed in range(4) for arm in ("plain", "again")], "f1")
    assert "temperature" not in verdict("f1", "plain", found.differences)


def test_an_ensemble_is_the_mean_of_raw_probabilities_with_one_temperature():
    cells = [cell("plain", seed, 4.0) for seed in range(4)]
    found = ensemble(cells)
    test = sum(each.test.probabilities for each in cells) / 4
    validation = sum(each.validation.probabilities for each in cells) / 4
    expected = classification_metrics(LABELS["test"], test)
    assert found.seeds == 4
    assert {name: found.metrics[name] for name in ("accuracy", "f1", "roc_auc")} == {
        name: pytest.approx(expected[name]) for name in ("accuracy", "f1", "roc_auc")
    }
    assert found.metrics["temperature"] == pytest.approx(fit_temperature(LABELS["validation"], validation).value)
    assert found.metrics["nll"] == pytest.approx(expected["nll"])


def test_of_one_seed_there_is_no_ensemble():
    assert weigh([cell("plain", 0), cell("b", 0)], "f1").ensembles == {}
