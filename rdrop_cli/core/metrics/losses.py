"""The loss of each example, of which NLL and Brier score are the means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TINY = np.finfo(np.float64).tiny


def nll_per_example(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(examples,) cross-entropies in nats, finite even where the true class has the probability 0.

    Args:
        labels: (examples,) true class ids.
        probabilities: (examples, classes).
    """
    losses: NDArray[np.float64] = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _TINY))
    return losses


def brier_per_example(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(examples,) squared distances to the true class, summed over the classes: from 0 to 2 (Brier 1950).

    Args:
        labels: (examples,) true class ids.
        probabilities: (examples, classes).
    """
    of_true = probabilities[np.arange(len(labels)), labels]
    losses: NDArray[np.float64] = np.square(probabilities).sum(axis=1) - 2 * of_true + 1
    return losses
