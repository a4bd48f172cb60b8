"""A model's predictions for labelled examples, and the softmax that gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for labelled examples.

    Attributes:
        labels: (examples,) int64, the true class ids.
        probabilities: (examples, classes) float64.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(examples, classes) probabilities in float64. In NumPy, since loading SciPy takes longer than one prediction."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
