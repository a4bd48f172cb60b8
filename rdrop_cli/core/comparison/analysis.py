"""Analyse a comparison: differences between arms, over seeds and over examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rdrop_cli.core.comparison.calibration import (
    SHOWN,
    TESTED,
    CalibratedOutcome,
    Ensemble,
    calibrate,
    ensemble,
    why_unknown,
)
from rdrop_cli.core.comparison.differences import Difference, compare_arms, corrected
from rdrop_cli.core.comparison.verdict import verdict
from rdrop_cli.core.metrics.bootstrap import METRICS, Interval, interval, number_of_resamples, resample, resample_means
from rdrop_cli.core.progress import Progress, no_progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.comparison.grid import CellOutcome


@dataclass(frozen=True)
class SeedSummary:
    """A metric of an arm over its seeds; None if it is undefined for a seed (sd also for a single seed)."""

    n: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class Evidence:
    """The analysis of a comparison.

    Attributes:
        baseline: The arm that the others are compared with.
        metric: The metric of the verdict; it was chosen in advance, because it also selects the best epoch.
        seeds: The seeds of every arm.
        calibrated: Every outcome before and after a temperature, in the order of the outcomes.
        ensembles: By arm; empty if there is one seed.
        summaries: By arm, then by metric: those of `METRICS`, and before and after a temperature.
        seconds: Median training time of an arm's runs that were never interrupted; None if there is none.
        differences: Every other arm's difference to the baseline, for each metric. Three families of tests are each
            corrected for their number: the chosen metric, the losses before and after a temperature, and the rest.
        verdict: A sentence or two for each other arm.
    """

    baseline: str
    metric: str
    seeds: list[int]
    calibrated: list[CalibratedOutcome]
    ensembles: dict[str, Ensemble]
    summaries: dict[str, dict[str, SeedSummary]]
    seconds: dict[str, float | None]
    differences: list[Difference]
    verdict: list[str]


def weigh(outcomes: Sequence[CellOutcome], metric: str, *, on_progress: Progress = no_progress) -> Evidence:
    """Analyse outcomes in which every arm has every seed.

    Args:
        outcomes: Seed by seed; the arm of the first one is the baseline.
        metric: The metric of the verdict, one of `METRICS`.
        on_progress: Called with the stage, the number of resamples done and the total.
    """
    arms = list(dict.fromkeys(outcome.arm for outcome in outcomes))
    seeds = list(dict.fromkeys(outcome.seed for outcome in outcomes))
    calibrated = [calibrate(outcome.test, outcome.validation) for outcome in outcomes]
    values = {
        arm: {
            name: [
                after.metrics[name] if name in SHOWN else outcome.metrics["test"][name]
                for outcome, after in zip(outcomes, calibrated, strict=True)
                if outcome.arm == arm
            ]
            for name in dict.fromkeys((*METRICS, *SHOWN))
        }
        for arm in arms
    }
    models = [outcome.test for outcome in outcomes]
    drawn = resample(models, on_progress=lambda done, total: on_progress("Resampling", done, total))
    drawn |= _resampled_losses(calibrated, number_of_resamples(models))
    examples = _over_examples(drawn, outcomes, arms)
    by_metric = {
        name: compare_arms(name, {arm: values[arm][name] for arm in arms}, examples[name])
        for name in dict.fromkeys((*METRICS, *TESTED))
    }
    order = list(by_metric)
    families = [[metric], [name for name in order if name in TESTED and name != metric]]
    families.append([name for name in order if not any(name in family for family in families)])
    differences = [gap for family in families for gap in corrected([gap for name in family for gap in by_metric[name]])]
    differences.sort(key=lambda gap: (arms.index(gap.arm), order.index(gap.metric)))
    return Evidence(
        baseline=arms[0],
        metric=metric,
        seeds=seeds,
        calibrated=calibrated,
        ensembles={arm: ensemble([each for each in outcomes if each.arm == arm]) for arm in arms if len(seeds) > 1},
        summaries={arm: {name: _summary(scores) for name, scores in values[arm].items()} for arm in arms},
        seconds={arm: _seconds([outcome for outcome in outcomes if outcome.arm == arm]) for arm in arms},
        differences=differences,
        verdict=[
            verdict(
                metric,
                arms[0],
                [gap for gap in differences if gap.arm == arm],
                why_unknown(
                    [
                        after
                        for after, outcome in zip(calibrated, outcomes, strict=True)
                        if outcome.arm in (arms[0], arm)
                    ]
                ),
            )
            for arm in arms[1:]
        ],
    )


def _resampled_losses(cells: Sequence[CalibratedOutcome], resamples: int) -> dict[str, NDArray[np.float64]]:
    """Each of `TESTED` on the resamples, (outcomes, resamples); NaN if it is unknown. Temperatures are held fixed."""
    return {
        name: resample_means(np.stack([cell.losses[name] for cell in cells]), resamples=resamples) for name in TESTED
    }


def _over_examples(
    drawn: Mapping[str, NDArray[np.float64]], outcomes: Sequence[CellOutcome], arms: Sequence[str]
) -> dict[str, dict[str, Interval]]:
    """By metric and arm, the bootstrap interval over test examples of the mean difference over seeds."""
    of = {arm: np.array([outcome.arm == arm for outcome in outcomes]) for arm in arms}
    return {
        name: {arm: interval((values[of[arm]] - values[of[arms[0]]]).mean(axis=0)) for arm in arms[1:]}
        for name, values in drawn.items()
    }


def _summary(values: Sequence[float | None]) -> SeedSummary:
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return SeedSummary(len(values), None, None)
    sd = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return SeedSummary(len(values), float(np.mean(defined)), sd)


def _seconds(outcomes: Sequence[CellOutcome]) -> float | None:
    whole = [outcome.cost["seconds"] for outcome in outcomes if not outcome.cost.get("resumed_from_step")]
    return float(np.median(whole)) if whole else None
