"""What differences show, in words that claim no more than they do."""

from __future__ import annotations

from collections.abc import Sequence

from rdrop_cli.core.differences import LOWER_IS_BETTER, Difference
from rdrop_cli.core.metrics import TITLES
from rdrop_cli.core.statistics import LEVEL, MOST_SEEDS


def verdict(metric: str, baseline: str, differences: Sequence[Difference]) -> str:
    """The verdict on an arm.

    Args:
        metric: The one that was chosen before; others are only mentioned.
        baseline: The arm it is compared to.
        differences: The arm's, one for each metric.
    """
    found = next(gap for gap in differences if gap.metric == metric)
    others = [gap for gap in differences if gap is not found and _holds_on_other_examples(gap)]
    said = _judgement(found, baseline)
    if others:
        each = "; ".join(
            f"{TITLES[gap.metric]} {gap.mean:+.4f} ({_direction(gap)}, p = {gap.p_holm:.2g})" for gap in others
        )
        said += f" Among the other metrics, corrected for their {others[0].tests} tests: {each}."
    return said


def _judgement(found: Difference, baseline: str) -> str:
    name, test = TITLES[found.metric], found.test
    if test is None:
        return f"{found.arm} and {baseline} cannot be compared: test {name} is undefined for a seed."
    amount = f"{test.mean:+.4f}"
    if test.n == 1:
        return f"{found.arm} against {baseline}, test {name}: {amount}. One seed shows nothing; use --seeds 5 or more."
    if test.p_value is None:
        return f"{found.arm} against {baseline}, test {name}: {amount} with every seed, too alike to test."
    if not test.sd:
        return f"{found.arm} and {baseline} have the same test {name} with every seed."
    assert test.low is not None and test.high is not None and found.p_holm is not None
    correction = f"; after Holm's correction for {found.tests} arms {found.p_holm:.2g}" if found.tests > 1 else ""
    figures = (
        f"{amount} (95 % interval over {test.n} seeds {test.low:+.4f} to {test.high:+.4f};"
        f" paired t-test, p = {test.p_value:.2g}{correction})"
    )
    if found.p_holm >= LEVEL:
        said = f"No evidence of a difference in test {name} between {found.arm} and {baseline}: {figures}."
        return said + _what_it_would_take(found)
    said = f"{found.arm} is {_direction(found)} than {baseline} in test {name}: {figures}."
    low, high = found.examples.low, found.examples.high
    if low is None or high is None:
        said += " What other test examples would show is not known: these have too few of a class."
    elif low <= 0 <= high:
        said += f" On other test examples it may not be: the interval over examples is {low:+.4f} to {high:+.4f}."
    return said


def _what_it_would_take(found: Difference) -> str:
    if not found.mean:
        return ""
    if found.seeds_needed is None:
        return f" If the difference is so small, more than {MOST_SEEDS:,} seeds would be needed to see it."
    return f" If it is of that size, about {found.seeds_needed} seeds would be needed to see it."


def _holds_on_other_examples(gap: Difference) -> bool:
    if gap.p_holm is None or gap.p_holm >= LEVEL:
        return False
    low, high = gap.examples.low, gap.examples.high
    return low is not None and high is not None and not low <= 0 <= high


def _direction(gap: Difference) -> str:
    assert gap.mean is not None
    return "better" if (gap.mean < 0) == (gap.metric in LOWER_IS_BETTER) else "worse"
