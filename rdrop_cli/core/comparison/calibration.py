"""A comparison with a temperature for each run, so that better calibration is not taken for a better classifier.

One temperature, fitted on validation, lowers the NLL of any overconfident model for nothing. What an arm gains beyond
that shows only when every arm has one. It is fitted here for each run, from its raw predictions, whatever
`train.calibrate` says, so that runs with and without a temperature of their own can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.metrics.calibration import (
    CALIBRATED,
    at_temperature,
    brier_score,
    calibrated_metrics,
    calibration_error,
    fit_temperature,
)
from rdrop_cli.core.metrics.classification import HEADLINE, classification_metrics
from rdrop_cli.core.metrics.losses import brier_per_example, nll_per_example
from rdrop_cli.core.metrics.predictions import Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.comparison.grid import CellOutcome

AFTER_TEMPERATURE = (*CALIBRATED, "temperature")
"""Null for a run that kept no predictions on validation."""
SHOWN = ("nll", "brier", "ece", *AFTER_TEMPERATURE)
"""What is shown of each arm. The calibration error is not tested, because few examples bias it upwards."""
TESTED = ("nll", "nll_calibrated", "brier", "brier_calibrated")
"""Means of a loss for each example. Their tests are a family of their own."""


@dataclass(frozen=True)
class CalibratedOutcome:
    """A run's predictions for test, with a temperature from its validation split.

    Attributes:
        metrics: Each of `SHOWN`.
        losses: Each of `TESTED` for every test example, (examples,); NaN if it is unknown.
        reason: Why the temperature could not be fitted and is 1; None: it could, or there is nothing to fit it on.
    """

    metrics: dict[str, float | None]
    losses: dict[str, NDArray[np.float64]]
    reason: str | None = None


@dataclass(frozen=True)
class Ensemble:
    """The mean of an arm's raw probabilities over its seeds, as one classifier, calibrated like a run.

    Attributes:
        seeds: How many runs it averages.
        disagreement: The share of test examples to which two of the runs give different labels, mean over all pairs.
        metrics: accuracy, f1 and roc_auc, and each of `SHOWN`.
    """

    seeds: int
    disagreement: float
    metrics: dict[str, float | None]


def calibrate(test: Predictions, validation: Predictions | None) -> CalibratedOutcome:
    """Measure predictions for test before and after a temperature.

    Args:
        test: Raw predictions.
        validation: Raw predictions to fit the temperature on; None: there are none.
    """
    labels, p = test.labels, test.probabilities
    metrics: dict[str, float | None] = {
        "nll": float(nll_per_example(labels, p).mean()),
        "brier": brier_score(labels, p),
        "ece": calibration_error(labels, p),
        **dict.fromkeys(AFTER_TEMPERATURE),
    }
    losses = {"nll": nll_per_example(labels, p), "brier": brier_per_example(labels, p)}
    if validation is None:
        unknown = np.full(len(labels), np.nan)
        return CalibratedOutcome(metrics, {**losses, "nll_calibrated": unknown, "brier_calibrated": unknown})
    fitted = fit_temperature(validation.labels, validation.probabilities)
    after = at_temperature(p, fitted.value)
    losses |= {"nll_calibrated": nll_per_example(labels, after), "brier_calibrated": brier_per_example(labels, after)}
    return CalibratedOutcome({**metrics, **calibrated_metrics(labels, p, fitted.value)}, losses, fitted.reason)


def ensemble(outcomes: Sequence[CellOutcome]) -> Ensemble:
    """The ensemble of one arm's runs."""
    test = _mean([outcome.test for outcome in outcomes])
    kept = [outcome.validation for outcome in outcomes if outcome.validation is not None]
    validation = _mean(kept) if len(kept) == len(outcomes) else None
    scores: dict[str, Any] = classification_metrics(test.labels, test.probabilities)
    metrics = {name: scores[name] for name in HEADLINE} | calibrate(test, validation).metrics
    labels = [outcome.test.probabilities.argmax(axis=1) for outcome in outcomes]
    differ = [float(np.mean(one != other)) for one, other in combinations(labels, 2)]
    return Ensemble(len(outcomes), float(np.mean(differ)), metrics)


def why_unknown(cells: Sequence[CalibratedOutcome]) -> str | None:
    """Why it is not known what a temperature makes of these runs; None: it is."""
    if missing := sum(cell.metrics["temperature"] is None for cell in cells):
        return f"{_these(missing, cells)} kept no validation predictions"
    if unfitted := sum(cell.reason is not None for cell in cells):
        return f"none could be fitted for {_these(unfitted, cells)}"
    return None


def _these(number: int, cells: Sequence[CalibratedOutcome]) -> str:
    return "these runs" if number == len(cells) else "some of these runs"


def _mean(predictions: Sequence[Predictions]) -> Predictions:
    return Predictions(predictions[0].labels, np.mean([member.probabilities for member in predictions], axis=0))
