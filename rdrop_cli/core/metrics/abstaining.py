"""What remains of errors where the least confident examples get no label."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
"""Shares of the examples that get a label."""


@dataclass(frozen=True)
class CoveragePoint:
    """The most confident examples.

    Attributes:
        coverage: The share that gets a label; slightly more than was asked for where confidences are equal.
        confidence: That of the least confident one of them: below it no label is given.
        labelled: How many get a label.
        errors: How many of these labels are wrong.
    """

    coverage: float
    confidence: float
    labelled: int
    errors: int

    @property
    def accuracy(self) -> float:
        """The share of the labels that are right."""
        return 1 - self.errors / self.labelled

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `risk` is the share of errors among the labelled."""
        return {**asdict(self), "accuracy": self.accuracy, "risk": self.errors / self.labelled}


def covered(
    labels: ArrayLike, predicted: ArrayLike, confidence: ArrayLike, coverages: Sequence[float] = COVERAGES
) -> list[CoveragePoint]:
    """The errors among the most confident examples, for each share of them that gets a label.

    Args:
        labels: (examples,) the true class ids.
        predicted: (examples,) the class ids that were given.
        confidence: (examples,) the probabilities of the given classes.
    """
    wrong, sure = np.asarray(labels) != np.asarray(predicted), np.asarray(confidence, dtype=np.float64)
    descending = np.sort(sure)[::-1]
    points = []
    for share in coverages:
        least = float(descending[max(1, round(share * len(sure))) - 1])
        kept = sure >= least  # with those that are as confident as the last one
        points.append(CoveragePoint(float(kept.mean()), least, int(kept.sum()), int(wrong[kept].sum())))
    return points
