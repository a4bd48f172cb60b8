"""The decision threshold of two classes: what each one gives, and which one reaches what is wanted.

The positive class is predicted where its probability is at least the threshold. A threshold is chosen on examples that
were neither trained on nor are the test: it is fitted to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SHOWN_RECALLS = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.1)


@dataclass(frozen=True)
class Rule:
    """What a threshold is to reach.

    Attributes:
        metric: f1: the highest one. precision or recall: at least a value, and as much of the other as there is then.
        at_least: That value; None for f1.
    """

    metric: Literal["f1", "precision", "recall"]
    at_least: float | None = None

    def __str__(self) -> str:
        return self.metric if self.at_least is None else f"{self.metric}={self.at_least:g}"


class Unreachable(ValueError):
    """No threshold reaches what is wanted; the message says what can be reached."""


@dataclass(frozen=True)
class Curve:
    """What every threshold that makes a difference gives, from the lowest to the highest; all (thresholds,).

    Attributes:
        thresholds: Half-way between two neighbouring scores; above 0 and below 1.
        precision: Like `recall` and `f1`, of the positive class.
        positives: How many of the examples are of the positive class.
    """

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    positives: int

    def rows(self, indices: Sequence[int]) -> list[dict[str, float]]:
        """The named points of the curve, for JSON."""
        columns = {"threshold": self.thresholds, "precision": self.precision, "recall": self.recall, "f1": self.f1}
        return [{name: float(values[index]) for name, values in columns.items()} for index in indices]

    def thinned(self, chosen: int, most: int = 1000) -> list[int]:
        """Indices of all points, or of about `most` evenly spaced ones, with both ends and the chosen one."""
        spaced = np.linspace(0, len(self.thresholds) - 1, min(most, len(self.thresholds))).astype(int)
        return sorted({*spaced.tolist(), chosen})

    def examples_of(self, chosen: int) -> list[int]:
        """Indices of about ten points for a table: at rounded recalls, the one nearest to 0.5, and the chosen one."""
        at_half = int(np.abs(self.thresholds - 0.5).argmin())
        indices = {chosen, at_half, *(_last(self.recall >= recall) for recall in _SHOWN_RECALLS)}
        return sorted(index for index in indices if index >= 0)


def threshold_curve(labels: ArrayLike, scores: ArrayLike) -> Curve:
    """The curve of all thresholds. Examples of equal score are on the same side of each.

    Args:
        labels: (examples,) True for the positive class.
        scores: (examples,) the probability of the positive class.

    Raises:
        Unreachable: no example is of the positive class, or no threshold between 0 and 1 finds one.
    """
    from sklearn.metrics import precision_recall_curve

    truth, p = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    if not truth.any():
        raise Unreachable("no example is of that class")
    # The last point, at which nothing is predicted positive, has no threshold.
    precision, recall, distinct = precision_recall_curve(truth, p, drop_intermediate=False)
    below = np.concatenate(([0.0], distinct[:-1]))
    middle = (below + distinct) / 2
    middle = np.where(middle > below, middle, distinct)  # of two neighbouring floats the middle is one of them
    inside = (middle > 0) & (middle < 1)
    if not inside.any():
        raise Unreachable("no threshold between 0 and 1 predicts that class")
    precision, recall = precision[:-1][inside], recall[:-1][inside]
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return Curve(middle[inside], precision, recall, f1, int(truth.sum()))


def choose(curve: Curve, rule: Rule) -> int:
    """The index of the point of a curve that a rule chooses.

    f1: the highest F1, and of several with the same one that nearest to 0.5. precision: the lowest threshold that
    reaches it, which has the highest recall. recall: the highest threshold that reaches it.

    Raises:
        Unreachable: no threshold has such a precision or recall.
    """
    if rule.metric == "f1":
        best = np.flatnonzero(curve.f1 >= curve.f1.max() - 1e-12)
        return int(best[np.abs(curve.thresholds[best] - 0.5).argmin()])
    wanted = 0.0 if rule.at_least is None else rule.at_least
    values = curve.precision if rule.metric == "precision" else curve.recall
    reached = values >= wanted
    if not reached.any():
        highest = np.flatnonzero(values == values.max())[0]
        other = "recall" if rule.metric == "precision" else "precision"
        there = (curve.recall if other == "recall" else curve.precision)[highest]
        raise Unreachable(f"the highest {rule.metric} is {values[highest]:.4f}, at {other} {there:.4f}")
    return int(reached.argmax()) if rule.metric == "precision" else _last(reached)


def labels_at(probabilities: NDArray[np.float64], positive: int, threshold: float) -> NDArray[np.int64]:
    """(examples,) class ids of two classes: the positive one where its probability is at least the threshold.

    Args:
        probabilities: (examples, 2).
    """
    return np.where(probabilities[:, positive] >= threshold, positive, 1 - positive)


def decision_metrics(labels: ArrayLike, predicted: ArrayLike, positive: int) -> dict[str, Any]:
    """Accuracy, and F1, precision and recall of the positive class, of labels that were given; two classes.

    An undefined one is None: precision if the positive class was never predicted, recall if it does not occur.
    """
    from rdrop_cli.core.metrics.classification import confusion_matrix

    matrix = confusion_matrix(labels, predicted, 2)
    hits, given, actual = int(matrix[positive, positive]), int(matrix[:, positive].sum()), int(matrix[positive].sum())
    return {
        "accuracy": float(matrix.trace() / matrix.sum()),
        "f1": 2 * hits / (given + actual) if given + actual else None,
        "precision": hits / given if given else None,
        "recall": hits / actual if actual else None,
        "confusion_matrix": matrix.tolist(),
    }


def _last(reached: NDArray[np.bool_]) -> int:
    """The index of the last True; -1 if there is none."""
    indices = np.flatnonzero(reached)
    return int(indices[-1]) if len(indices) else -1
