"""Paired differences between arms, with their tests, each corrected for the others of its family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rdrop_cli.core.metrics.bootstrap import Interval
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
    """The same differences with Holm's correction for all of them that have a test."""
    p_values = [gap.test.p_value if gap.test else None for gap in family]
    tests = sum(p is not None for p in p_values)
    return [
        replace(gap, p_holm=p_holm, tests=max(1, tests)) for gap, p_holm in zip(family, holm(p_values), strict=True)
    ]
