"""A comparison's verdict and cautions, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.comparison.arms import Arm, shown_settings
from rdrop_cli.core.comparison.calibration import TESTED
from rdrop_cli.core.metrics.bootstrap import weakness
from rdrop_cli.core.metrics.classification import LOWER_IS_BETTER, TITLES
from rdrop_cli.core.metrics.significance import LEVEL, MOST_SEEDS

if TYPE_CHECKING:
    from rdrop_cli.core.comparison.calibration import CalibratedOutcome
    from rdrop_cli.core.comparison.differences import Difference
    from rdrop_cli.core.comparison.grid import CellOutcome

_MAKE_BATCHES = ("train.batch_size", "train.group_by_length", "model.max_length", "model.name", "model.revision")
"""Keys that affect the order of examples, or the initial weights of the head."""


def cautions(
    outcomes: Sequence[CellOutcome],
    arms: Sequence[Arm],
    looks: Sequence[Mapping[str, Any]],
    calibrated: Sequence[CalibratedOutcome],
) -> list[str]:
    """Reasons to be careful with the results, a sentence or two each.

    Args:
        outcomes: Of every arm with every seed.
        arms: The first is the baseline.
        looks: The arms and seeds of each analysis so far; the last one is the present analysis.
        calibrated: The outcomes before and after a temperature.
    """
    candidates = [
        _of_looks(looks),
        _of_examples(outcomes),
        *(_of_batches(arm, arms) for arm in arms[1:]),
        _of_environments(outcomes),
        _of_temperatures(outcomes, calibrated),
    ]
    return [caution for caution in candidates if caution]


def _of_looks(looks: Sequence[Mapping[str, Any]]) -> str:
    """A caution if seeds may have been chosen after seeing results, which finds differences that do not exist."""
    *earlier, now = looks
    numbers = {
        len(look["seeds"])
        for look in earlier
        if len(set(look["arms"]) & set(now["arms"])) > 1
        and set(look["seeds"]) != set(now["seeds"])
        and set(look["seeds"]) & set(now["seeds"])
    }
    if not numbers:
        return ""
    return (
        "Arms of this comparison were already analysed with other seeds, some of them the same as now (number of"
        f" seeds: {', '.join(map(str, sorted(numbers)))}). If these {len(now['seeds'])} were chosen after seeing those"
        " results, p-values are too small; to be sure, repeat the comparison once with new seeds (--seed, --out)"
    )


def _of_examples(outcomes: Sequence[CellOutcome]) -> str:
    weak = weakness([outcome.test for outcome in outcomes])
    return f"The intervals over examples are too narrow: {weak}" if weak else ""


def _of_batches(arm: Arm, arms: Sequence[Arm]) -> str:
    own, base = (shown_settings(each, arms) for each in (arm, arms[0]))
    keys = [key for key in _MAKE_BATCHES if own.get(key) != base.get(key)]
    if not keys:
        return ""
    return (
        f"{arm.name} and {arms[0].name} have the same seeds, but not the same batches or initial heads, because they"
        f" differ in {', '.join(keys)}"
    )


def _of_environments(outcomes: Sequence[CellOutcome]) -> str:
    environments = sorted({outcome.environment for outcome in outcomes})
    if len(environments) == 1:
        return ""
    each = "; ".join(environments)
    return f"Runs were trained on different machines, numbers of threads, precisions or versions: {each}"


def _of_temperatures(outcomes: Sequence[CellOutcome], calibrated: Sequence[CalibratedOutcome]) -> str:
    without = sum(outcome.validation is None for outcome in outcomes)
    if without:
        return (
            f"{without} of {len(outcomes)} runs were trained by a version of rdrop that kept no predictions for"
            " validation, so their arms cannot be calibrated; to have that, repeat the comparison with another --out"
        )
    unfitted = {cell.reason for cell in calibrated if cell.reason}
    if not unfitted:
        return ""
    number = sum(cell.reason is not None for cell in calibrated)
    return f"The temperature of {number} of {len(outcomes)} runs is 1, because {'; '.join(sorted(unfitted))}"


def verdict(metric: str, baseline: str, differences: Sequence[Difference], unknown: str | None = None) -> str:
    """The verdict on an arm.

    Args:
        metric: The metric that was chosen in advance; others are only mentioned.
        baseline: The arm it is compared with.
        differences: The arm's differences, one for each metric.
        unknown: Why it is not known what a temperature makes of both arms' runs; None: it is.
    """
    chosen = next(gap for gap in differences if gap.metric == metric)
    others = [
        gap for gap in differences if gap is not chosen and gap.metric not in TESTED and _holds_on_other_examples(gap)
    ]
    sentence = _judgement(chosen, baseline)
    if others:
        each = "; ".join(
            f"{TITLES[gap.metric]} {gap.mean:+.4f} ({_direction(gap)}, p = {gap.p_holm:.2g})" for gap in others
        )
        sentence += f" Among the other metrics, corrected for their {others[0].tests} tests: {each}."
    by_metric = {gap.metric: gap for gap in differences}
    if "nll" in by_metric and "nll_calibrated" in by_metric:
        sentence += _what_a_temperature_leaves(by_metric["nll"], by_metric["nll_calibrated"], unknown)
    return sentence


def _what_a_temperature_leaves(raw: Difference, calibrated: Difference, unknown: str | None) -> str:
    """How much of a lower NLL is more than better calibration, which one number would also give.

    Nothing if the seeds do not show a difference. One that only Holm's correction takes away is spoken of, because the
    figures after a temperature say more about it than the correction does.
    """
    if raw.test is None or raw.test.p_value is None or raw.test.p_value >= LEVEL:
        return ""
    assert raw.mean is not None and raw.p_holm is not None
    direction = f"{_direction(raw)}, " if raw.p_holm < LEVEL else ""
    sentence = f" Test NLL: {raw.mean:+.4f} ({direction}p = {raw.p_holm:.2g})"
    if unknown:
        return f"{sentence}; what a temperature would leave of it is not known, because {unknown}."
    if calibrated.mean is None or calibrated.p_holm is None:
        return f"{sentence}; what a temperature leaves of it differs by the same with every seed and cannot be tested."
    sentence += f"; after a temperature for each run, {calibrated.mean:+.4f} (p = {calibrated.p_holm:.2g}"
    if raw.tests == calibrated.tests:
        sentence += f"; both corrected for {raw.tests} tests"
    if raw.mean >= 0 or raw.p_holm >= LEVEL:
        return f"{sentence})."
    if calibrated.p_holm >= LEVEL:
        return f"{sentence}), so there is no evidence that anything of that gain is left."
    left = max(0.0, calibrated.mean / raw.mean)
    return f"{sentence}), so {left:.0%} of that gain is left."


def _judgement(gap: Difference, baseline: str) -> str:
    name, test = TITLES[gap.metric], gap.test
    if test is None:
        return f"{gap.arm} and {baseline} cannot be compared: test {name} is undefined for a seed."
    amount = f"{test.mean:+.4f}"
    if test.n == 1:
        return f"{gap.arm} against {baseline}, test {name}: {amount}. One seed shows nothing; use --seeds 5 or more."
    if test.p_value is None:
        return f"{gap.arm} against {baseline}, test {name}: {amount} with every seed, so there is no spread to test by."
    if not test.sd:
        return f"{gap.arm} and {baseline} have the same test {name} with every seed."
    assert test.low is not None and test.high is not None and gap.p_holm is not None
    correction = f"; after Holm's correction for {gap.tests} arms {gap.p_holm:.2g}" if gap.tests > 1 else ""
    figures = (
        f"{amount} (95 % interval over {test.n} seeds {test.low:+.4f} to {test.high:+.4f};"
        f" paired t-test, p = {test.p_value:.2g}{correction})"
    )
    if gap.p_holm >= LEVEL:
        sentence = f"No evidence of a difference in test {name} between {gap.arm} and {baseline}: {figures}."
        return sentence + _what_it_would_take(gap)
    sentence = f"{gap.arm} is {_direction(gap)} than {baseline} in test {name}: {figures}."
    low, high = gap.examples.low, gap.examples.high
    if low is None or high is None:
        sentence += " This may not hold for other test examples: too few of a class to give an interval over examples."
    elif low <= 0 <= high:
        sentence += f" This may not hold for other test examples: the interval over them is {low:+.4f} to {high:+.4f}."
    return sentence


def _what_it_would_take(gap: Difference) -> str:
    if not gap.mean:
        return ""
    if gap.seeds_needed is None:
        return f" If it were really this large, showing it would take more than {MOST_SEEDS:,} seeds."
    return f" If it were really this large, showing it would take about {gap.seeds_needed} seeds."


def _holds_on_other_examples(gap: Difference) -> bool:
    if gap.p_holm is None or gap.p_holm >= LEVEL:
        return False
    low, high = gap.examples.low, gap.examples.high
    return low is not None and high is not None and not low <= 0 <= high


def _direction(gap: Difference) -> str:
    assert gap.mean is not None
    return "better" if (gap.mean < 0) == (gap.metric in LOWER_IS_BETTER) else "worse"
