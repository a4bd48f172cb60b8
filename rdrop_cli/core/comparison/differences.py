"""Paired differences between arms, with tests that are corrected for the number of tests in their family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rdrop_cli.core.metrics.bootstrap import Interval
from rdrop_cli.core.metrics.significance import LEVEL, PairedT, holm, paired_t, seeds_needed


@dataclass(frozen=True)
class Difference:
    """An arm's metric minus the first arm's, paired by seed.

    Attributes:
        test: The paired t-test over seeds; None if the metric is undefined for a seed.
        examples: The interval of the mean difference over test examples.
        p_holm: The test's p-value, corrected for the tests of its family.
        tests: The number of tests in the family.
    """

    arm: str
    metric: str
    test: PairedT | None
    examples: Interval
    p_holm: float | None = None
    tests: int = 1

    @property
    def mean(self) -> float | None:
        """The mean difference over seeds."""
        return self.test.mean if self.test else None

    @property
    def seeds_needed(self) -> int | None:
        """Seeds needed to detect a difference of this size and spread with 80 % power, at the strictest correction."""
        return seeds_needed(self.test.mean, self.test.sd or 0.0, level=LEVEL / self.tests) if self.test else None


def compare_arms(
    metric: str, values: Mapping[str, Sequence[float | None]], examples: Mapping[str, Interval] | None = None
) -> list[Difference]:
    """Differences of one metric between the first arm and each other, not yet corrected.

    Args:
        values: By arm, one value for each seed, in the same order of seeds.
        examples: By arm, the interval over test examples.
    """
    baseline, *others = values
    differences = []
    for arm in others:
        pairs = [
            own - base
            for own, base in zip(values[arm], values[baseline], strict=True)
            if own is not None and base is not None
        ]
        test = paired_t(pairs) if len(pairs) == len(values[arm]) else None
        differences.append(Difference(arm, metric, test, (examples or {}).get(arm, Interval(None, None))))
    return differences


def corrected(family: Sequence[Difference]) -> list[Difference]:
    """The same differences with Holm's correction for those that have a test."""
    p_values = [gap.test.p_value if gap.test else None for gap in family]
    tests = sum(p is not None for p in p_values)
    return [
        replace(gap, p_holm=p_holm, tests=max(1, tests)) for gap, p_holm in zip(family, holm(p_values), strict=True)
    ]
