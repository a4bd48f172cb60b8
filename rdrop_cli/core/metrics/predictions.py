"""A model's predictions for labelled examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
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
