"""How far probabilities can be trusted: Brier score, calibration error, temperature, and risk against coverage.

The temperature is one number by which all logits are divided. It changes how sure a model is, but no label (Guo et al.,
On Calibration of Modern Neural Networks, ICML 2017). Logits are only needed up to a constant for each example, so raw
probabilities are enough: their logarithms serve as logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.metrics.losses import brier_per_example, nll_per_example
from rdrop_cli.core.metrics.predictions import softmax

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BINS = 15
"""Bins of the calibration error."""
FEWEST_EXAMPLES = 50
"""With fewer examples no temperature is fitted."""
LOWEST, HIGHEST = 0.2, 10.0
"""A temperature outside this range says that something else is wrong, and is not used."""
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Attributes:
        value: What to divide logits by; 1 if none could be fitted.
        reason: Why none could be fitted; None: it was fitted.
    """

    value: float
    reason: str | None = None


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike) -> Temperature:
    """The temperature with the lowest NLL: where its slope is zero, found by Brent's method in log space.

    The NLL is convex in 1/T, so there is one such place at most.

    Args:
        labels: (examples,) class ids of examples that were not trained on, usually validation.
        probabilities: (examples, classes), raw.
    """
    from scipy.optimize import brentq

    truth, logits = np.asarray(labels), _logits(probabilities)
    if len(truth) < FEWEST_EXAMPLES:
        return Temperature(1.0, f"{len(truth)} validation examples are too few (at least {FEWEST_EXAMPLES})")
    own = logits[np.arange(len(truth)), truth]

    def slope(log_temperature: float) -> float:
        """Of the NLL in 1/T: the logit that the model expects, minus that of the true class."""
        expected = (softmax(logits / math.exp(log_temperature)) * logits).sum(axis=1)
        return float((expected - own).mean())

    low, high = math.log(LOWEST), math.log(HIGHEST)
    if slope(low) <= 0:
        return Temperature(1.0, f"the best temperature is below {LOWEST:g}")
    if slope(high) >= 0:
        return Temperature(1.0, f"the best temperature is above {HIGHEST:g}")
    return Temperature(math.exp(brentq(slope, low, high, xtol=1e-12)))


def at_temperature(probabilities: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """(examples, classes) probabilities after dividing the logits by the temperature."""
    return softmax(_logits(probabilities) / temperature)


def brier_score(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Squared distance to the true class, summed over the classes: 0 is perfect, 2 the worst (Brier 1950)."""
    return float(brier_per_example(np.asarray(labels), np.asarray(probabilities, dtype=np.float64)).mean())


@dataclass(frozen=True)
class Bin:
    """Examples of similar confidence: how many, their mean confidence, and the share that is labelled correctly."""

    examples: int
    confidence: float
    accuracy: float


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> list[Bin]:
    """Confidence against accuracy, in bins of (almost) equally many examples, from the least confident to the most.

    The confidence of an example is the probability of its predicted label. Examples of equal confidence count as
    equally correct, so that their order does not matter.
    """
    confidence, correct = _by_confidence(labels, probabilities)
    return [
        Bin(len(rows), float(confidence[rows].mean()), float(correct[rows].mean()))
        for rows in np.array_split(np.arange(len(confidence)), bins)
        if len(rows)
    ]


def calibration_error(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Expected calibration error (ECE): how far confidence and accuracy differ, on average over `reliability`'s bins.

    It is biased upwards with few examples: bins of n examples differ by about 0.4 / sqrt(n) by chance alone where the
    accuracy is about 0.8.
    """
    bins = reliability(labels, probabilities)
    total = sum(group.examples for group in bins)
    return sum(group.examples * abs(group.confidence - group.accuracy) for group in bins) / total


def risk_coverage(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The share of errors among the most confident examples, for every number of them.

    Returns:
        coverage: (examples,), 1/n to 1, the share of examples that get a label.
        risk: (examples,), the share of errors among them. Examples of equal confidence count as equally correct.
    """
    _, correct = _by_confidence(labels, probabilities)
    numbers = np.arange(1, len(correct) + 1)
    return numbers / len(correct), np.cumsum(1 - correct[::-1]) / numbers


def aurc(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Area under the risk-coverage curve: the mean of its risks; 0 is perfect (Geifman et al., ICLR 2019)."""
    return float(risk_coverage(labels, probabilities)[1].mean())


CALIBRATED = ("nll_calibrated", "brier_calibrated", "ece_calibrated")
"""What `calibrated_metrics` gives besides the temperature."""


def calibrated_metrics(labels: ArrayLike, probabilities: ArrayLike, temperature: float | None) -> dict[str, Any]:
    """NLL, Brier score and calibration error after a temperature, and it; all None without one.

    Args:
        probabilities: (examples, classes), raw.
    """
    if temperature is None:
        return dict.fromkeys((*CALIBRATED, "temperature"))
    truth, p = np.asarray(labels), at_temperature(probabilities, temperature)
    return {
        "nll_calibrated": float(nll_per_example(truth, p).mean()),
        "brier_calibrated": brier_score(truth, p),
        "ece_calibrated": calibration_error(truth, p),
        "temperature": temperature,
    }


def _logits(probabilities: ArrayLike) -> NDArray[np.float64]:
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _TINY))


def _by_confidence(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Confidences in ascending order, and how far each example is correct: 0 or 1, or the mean of its equals."""
    p = np.asarray(probabilities, dtype=np.float64)
    values, group, counts = np.unique(p.max(axis=1), return_inverse=True, return_counts=True)
    correct = np.bincount(group, weights=p.argmax(axis=1) == np.asarray(labels)) / counts
    return np.repeat(values, counts), np.repeat(correct, counts)
