"""What a comparison's results are worth: differences between arms, over seeds and over examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rdrop_cli.core.comparison.grid import CellResult
from rdrop_cli.core.comparison.verdict import verdict
from rdrop_cli.core.metrics.bootstrap import METRICS, Interval, interval, resample
from rdrop_cli.core.metrics.significance import LEVEL, PairedT, holm, paired_t, seeds_needed

LOWER_IS_BETTER = frozenset({"nll"})


@dataclass(frozen=True)
class Difference:
    """An arm's metric minus the first arm's, paired by seed.

    Attributes:
        test: None where the metric is undefined for a seed.
        examples: The interval of the mean difference over test examples.
        p_holm: The test's p-value, corrected for the tests of its family.
        tests: How many those are.
    """

    arm: str
    metric: str
    test: PairedT | None
    examples: Interval
    p_holm: float | None = None
    tests: int = 1

    @property
    def mean(self) -> float | None:
        """Over seeds."""
        return self.test.mean if self.test else None

    @property
    def seeds_needed(self) -> int | None:
        """To find a difference of this size and spread after the correction, at its strictest, with 80 % power."""
        return seeds_needed(self.test.mean, self.test.sd or 0.0, level=LEVEL / self.tests) if self.test else None


def compare_arms(
    metric: str, values: Mapping[str, Sequence[float | None]], examples: Mapping[str, Interval] | None = None
) -> list[Difference]:
    """Differences of one metric to the first arm's, not corrected yet.

    Args:
        values: By arm, one for each seed, in the same order of seeds.
        examples: By arm, the interval over test examples.
    """
    baseline, *others = values
    found = []
    for arm in others:
        pairs = [
            own - base
            for own, base in zip(values[arm], values[baseline], strict=True)
            if own is not None and base is not None
        ]
        test = paired_t(pairs) if len(pairs) == len(values[arm]) else None
        found.append(Difference(arm, metric, test, (examples or {}).get(arm, Interval(None, None))))
    return found


def corrected(family: Sequence[Difference]) -> list[Difference]:
    """The same differences with Holm's correction for all of them that have a test."""
    p_values = [found.test.p_value if found.test else None for found in family]
    tests = sum(p is not None for p in p_values)
    return [
        replace(found, p_holm=p_holm, tests=max(1, tests)) for found, p_holm in zip(family, holm(p_values), strict=True)
    ]


@dataclass(frozen=True)
class Summary:
    """A metric of an arm over its seeds; None where a seed leaves it undefined (sd also for one seed)."""

    n: int
    mean: float | None
    sd: float | None


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
    outcomes: Sequence[CellResult], metric: str, *, on_progress: Callable[[str, int, int | None], None] | None = None
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
    by_metric = {name: compare_arms(name, {arm: values[arm][name] for arm in arms}, examples[name]) for name in METRICS}
    chosen = corrected(by_metric[metric])
    others = corrected([gap for name in METRICS if name != metric for gap in by_metric[name]])
    order = [(arm, name) for arm in arms for name in METRICS]
    differences = sorted(chosen + others, key=lambda gap: order.index((gap.arm, gap.metric)))
    return Evidence(
        baseline=arms[0],
        metric=metric,
        seeds=seeds,
        summaries={arm: {name: _summary(found) for name, found in values[arm].items()} for arm in arms},
        seconds={arm: _seconds([found for found in outcomes if found.arm == arm]) for arm in arms},
        differences=differences,
        verdict=[verdict(metric, arms[0], [gap for gap in differences if gap.arm == arm]) for arm in arms[1:]],
    )


def _over_examples(
    drawn: dict[str, NDArray[np.float64]], outcomes: Sequence[CellResult], arms: Sequence[str]
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


def _seconds(outcomes: Sequence[CellResult]) -> float | None:
    whole = [found.cost["seconds"] for found in outcomes if not found.cost.get("resumed_from_step")]
    return float(np.median(whole)) if whole else None
