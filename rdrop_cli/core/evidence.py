"""What a comparison's outcomes say: means, paired differences with their intervals and tests, and a verdict in words.

Two things could have come out otherwise. Training depends on its seed: the paired t interval over seeds says how far
the mean difference is known on these test examples. And the examples are a sample: the bootstrap interval over them
says what the same models would show on others. The verdict rests on the first and mentions the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdrop_cli.core.cells import Outcome
from rdrop_cli.core.resampling import METRICS, Interval, interval, resample
from rdrop_cli.core.statistics import LEVEL, MOST_SEEDS, PairedT, holm, paired_t, seeds_needed

TITLES = {"accuracy": "accuracy", "f1": "F1", "roc_auc": "ROC-AUC", "nll": "NLL"}
LOWER_IS_BETTER = frozenset({"nll"})


@dataclass(frozen=True)
class Summary:
    """A metric of an arm over its seeds; None where a seed leaves it undefined (sd also for one seed)."""

    n: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class Difference:
    """An arm's metric minus the first arm's, paired by seed.

    Attributes:
        test: None where the metric is undefined for a seed.
        p_holm: Corrected for the number of arms compared.
    """

    arm: str
    metric: str
    test: PairedT | None
    p_holm: float | None
    examples: Interval

    @property
    def seeds_needed(self) -> int | None:
        """For a difference of this size and spread."""
        return seeds_needed(self.test.mean, self.test.sd or 0.0) if self.test else None


@dataclass(frozen=True)
class Evidence:
    """A comparison, weighed.

    Attributes:
        baseline: The arm that the others are compared to.
        metric: The one the verdict is about; it was chosen before, as the one that picks the best epoch.
        summaries: By arm, then by metric.
        seconds: Median training time of an arm's cells that were trained in one go; None if none was.
        verdict: A sentence or two for each other arm.
    """

    baseline: str
    metric: str
    seeds: list[int]
    summaries: dict[str, dict[str, Summary]]
    seconds: dict[str, float | None]
    differences: list[Difference]
    verdict: list[str]


def weigh(
    outcomes: Sequence[Outcome], metric: str, *, on_progress: Callable[[str, int, int | None], None] | None = None
) -> Evidence:
    """Weigh outcomes in which every arm has every seed.

    Args:
        outcomes: Seed by seed; the first one's arm is what the others are compared to.
        metric: The verdict's, of `METRICS`.
        on_progress: Called with the stage, the resamples done and how many there are.
    """
    progress = on_progress or (lambda stage, done, total: None)
    arms = list(dict.fromkeys(found.arm for found in outcomes))
    seeds = list(dict.fromkeys(found.seed for found in outcomes))
    values = {
        arm: {name: [found.metrics["test"][name] for found in outcomes if found.arm == arm] for name in METRICS}
        for arm in arms
    }
    drawn = resample(
        [found.test for found in outcomes], on_progress=lambda done, total: progress("Resampling", done, total)
    )
    examples = _over_examples(drawn, outcomes, arms)
    differences = [
        difference
        for name in METRICS
        for difference in compare(name, {arm: values[arm][name] for arm in arms}, examples[name])
    ]
    order = {arm: index for index, arm in enumerate(arms)}
    differences.sort(key=lambda difference: order[difference.arm])
    return Evidence(
        baseline=arms[0],
        metric=metric,
        seeds=seeds,
        summaries={arm: {name: _summary(found) for name, found in values[arm].items()} for arm in arms},
        seconds={arm: _seconds([found for found in outcomes if found.arm == arm]) for arm in arms},
        differences=differences,
        verdict=[
            verdict(metric, arms[0], [gap for gap in differences if gap.arm == arm], len(arms) - 1) for arm in arms[1:]
        ],
    )


def compare(
    metric: str, values: dict[str, list[float | None]], examples: dict[str, Interval] | None = None
) -> list[Difference]:
    """Paired differences of one metric to the first arm's.

    Args:
        values: By arm, one for each seed, in the same order of seeds.
        examples: By arm, the interval over test examples.
    """
    baseline, *others = values
    tests: dict[str, PairedT | None] = {}
    for arm in others:
        pairs = [
            (own, base)
            for own, base in zip(values[arm], values[baseline], strict=True)
            if own is not None and base is not None
        ]
        is_whole = len(pairs) == len(values[arm])
        tests[arm] = paired_t([own - base for own, base in pairs]) if is_whole else None
    corrected = holm([test.p_value if test else None for test in tests.values()])
    return [
        Difference(
            arm,
            metric,
            test,
            p_holm,
            (examples or {}).get(arm, Interval(None, None)),
        )
        for (arm, test), p_holm in zip(tests.items(), corrected, strict=True)
    ]


def verdict(metric: str, baseline: str, differences: Sequence[Difference], comparisons: int) -> str:
    """What an arm's differences show, in words that claim no more than they do.

    Args:
        metric: The one that was chosen before; others are only mentioned.
        differences: The arm's, by metric.
        comparisons: Arms that are compared to the baseline.
    """
    found = next(gap for gap in differences if gap.metric == metric)
    others = [
        _mention(gap) for gap in differences if gap is not found and gap.p_holm is not None and gap.p_holm < LEVEL
    ]
    said = _judgement(found, baseline, comparisons)
    if others:
        each = ", each metric corrected on its own" if comparisons > 1 else ""
        said += f" It differs in other metrics{each}: {'; '.join(others)}."
    return said


def _mention(gap: Difference) -> str:
    assert gap.test is not None
    return (
        f"{TITLES[gap.metric]} {gap.test.mean:+.4f} ({'better' if _is_better(gap) else 'worse'}, p = {gap.p_holm:.2g})"
    )


def _is_better(gap: Difference) -> bool:
    assert gap.test is not None
    return (gap.test.mean < 0) == (gap.metric in LOWER_IS_BETTER)


def _judgement(found: Difference, baseline: str, comparisons: int) -> str:
    name, test = TITLES[found.metric], found.test
    if test is None:
        return f"{found.arm} and {baseline} cannot be compared: test {name} is undefined for a seed."
    amount = f"{test.mean:+.4f}"
    if test.n == 1:
        return f"{found.arm} against {baseline}, test {name}: {amount}. One seed shows nothing; use --seeds 5 or more."
    if test.p_value is None:
        return f"{found.arm} against {baseline}, test {name}: {amount} with every seed, too alike to test."
    if test.mean == 0 and not test.sd:
        return f"{found.arm} and {baseline} have the same test {name} with every seed."
    assert test.low is not None and test.high is not None and found.p_holm is not None
    correction = f" after Holm's correction for {comparisons} arms" if comparisons > 1 else ""
    figures = (
        f"{amount} (95 % interval over {test.n} seeds {test.low:+.4f} to {test.high:+.4f};"
        f" paired t-test, p = {found.p_holm:.2g}{correction})"
    )
    if found.p_holm >= LEVEL:
        needed = f"about {found.seeds_needed}" if found.seeds_needed else f"more than {MOST_SEEDS:,}"
        return (
            f"No evidence of a difference in test {name} between {found.arm} and {baseline}: {figures}."
            f" To see one of that size, {needed} seeds would be needed."
        )
    said = f"{found.arm} is {'better' if _is_better(found) else 'worse'} than {baseline} in test {name}: {figures}."
    low, high = found.examples.low, found.examples.high
    if low is not None and high is not None and low <= 0 <= high:
        said += f" On other test examples it may not be: the interval over examples is {low:+.4f} to {high:+.4f}."
    return said


def _over_examples(
    drawn: dict[str, NDArray[np.float64]], outcomes: Sequence[Outcome], arms: Sequence[str]
) -> dict[str, dict[str, Interval]]:
    """By metric and arm, the interval of the mean difference over seeds when the test examples are drawn anew."""
    of = {arm: np.array([found.arm == arm for found in outcomes]) for arm in arms}
    return {
        name: {arm: interval((values[of[arm]] - values[of[arms[0]]]).mean(axis=0)) for arm in arms[1:]}
        for name, values in drawn.items()
    }


def _summary(values: Sequence[float | None]) -> Summary:
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return Summary(len(values), None, None)
    sd = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return Summary(len(values), float(np.mean(defined)), sd)


def _seconds(outcomes: Sequence[Outcome]) -> float | None:
    whole = [found.cost["seconds"] for found in outcomes if not found.cost.get("resumed_from_step")]
    return float(np.median(whole)) if whole else None
