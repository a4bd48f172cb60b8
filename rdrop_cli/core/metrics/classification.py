"""Classification metrics. A metric that is undefined for the data is None with a reason, never 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.metrics.calibration import brier_score, calibration_error
from rdrop_cli.core.metrics.losses import nll_per_example

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

HEADLINE = ("accuracy", "f1", "roc_auc")
"""The main metrics, in the order in which they are shown."""
SCALARS = (*HEADLINE, "precision", "recall", "mcc", "nll")
TITLES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "precision": "precision",
    "recall": "recall",
    "mcc": "MCC",
    "nll": "NLL",
    "brier": "Brier",
    "ece": "ECE",
    "nll_calibrated": "calibrated NLL",
    "brier_calibrated": "calibrated Brier",
    "ece_calibrated": "calibrated ECE",
    "temperature": "temperature",
}
"""Names for display."""
LOWER_IS_BETTER = frozenset({"nll", "brier", "ece", "nll_calibrated", "brier_calibrated", "ece_calibrated"})


def average_of(labels: Sequence[str], positive: int = 1) -> str:
    """A description of which classes F1, precision and recall refer to."""
    return f"positive class {labels[positive]!r}" if len(labels) == 2 else f"macro over {len(labels)} classes"


def classification_metrics(labels: ArrayLike, probabilities: ArrayLike, *, positive: int = 1) -> dict[str, Any]:
    """Metrics of predicted class probabilities.

    For two classes, f1, precision, recall and roc_auc are those of the positive class. For more, they are macro
    averages over the classes that occur among labels or predictions, and roc_auc is one-vs-rest.

    Args:
        labels: (examples,) class ids.
        probabilities: (examples, classes), rows that sum to 1.
        positive: The positive class's id; with two classes only.

    Returns:
        accuracy, f1, roc_auc, precision, recall, mcc; nll in nats per example (plain, unsmoothed); brier (summed over
        the classes); ece (expected calibration error of the predicted label, in 15 bins of equal size);
        `examples`; `per_class`: precision, recall, f1 and support (examples) of each class, in the order of the ids;
        `undefined`: why, for each metric that is None.

    Raises:
        ValueError: there are no examples, the shapes do not match, or the values are not probabilities.
    """
    from sklearn.metrics import accuracy_score, matthews_corrcoef, roc_auc_score

    truth, p = _checked(labels, probabilities)
    predicted = p.argmax(axis=1)
    counts = confusion_matrix(truth, predicted, p.shape[1])
    per_class = _per_class(counts)
    undefined: dict[str, str] = {}
    metrics: dict[str, Any] = {"examples": len(truth), "accuracy": float(accuracy_score(truth, predicted))}

    if p.shape[1] == 2:
        averaged = per_class[positive]
        reasons = {
            "f1": "the positive class occurs in neither labels nor predictions",
            "precision": "the positive class was never predicted",
            "recall": "the positive class does not occur among the labels",
        }
    else:
        occurring = [row for row, seen in zip(per_class, counts.sum(0) + counts.sum(1), strict=True) if seen]
        averaged = {name: _mean([row[name] for row in occurring]) for name in ("f1", "precision", "recall")}
        reasons = {
            "f1": "a class occurs in neither labels nor predictions",
            "precision": "a class was never predicted",
            "recall": "a class was predicted that does not occur among the labels",
        }
    for name in ("f1", "precision", "recall"):
        metrics[name] = averaged[name]
        if averaged[name] is None:
            undefined[name] = reasons[name]

    missing = np.flatnonzero(counts.sum(axis=1) == 0)
    if len(missing):
        metrics["roc_auc"] = None
        undefined["roc_auc"] = "a class does not occur among the labels"
    elif p.shape[1] == 2:
        metrics["roc_auc"] = float(roc_auc_score(truth == positive, p[:, positive]))
    else:
        columns = [roc_auc_score(truth == index, p[:, index]) for index in range(p.shape[1])]
        metrics["roc_auc"] = float(np.mean(columns))

    if (counts.sum(axis=0) > 0).sum() < 2 or (counts.sum(axis=1) > 0).sum() < 2:
        metrics["mcc"] = None
        undefined["mcc"] = "labels or predictions are all of one class"
    else:
        metrics["mcc"] = float(matthews_corrcoef(truth, predicted))
    metrics["nll"] = float(nll_per_example(truth, p).mean())
    metrics["brier"] = brier_score(truth, p)
    metrics["ece"] = calibration_error(truth, p)
    metrics["per_class"] = per_class
    metrics["undefined"] = undefined
    return metrics


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts: rows are true classes, columns predicted ones."""
    from sklearn.metrics import confusion_matrix as count

    return np.asarray(count(labels, predicted, labels=range(classes)), dtype=np.int64)


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    truth = np.asarray(labels)
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 2 or truth.shape != p.shape[:1]:
        raise ValueError(
            f"labels must be (examples,) and probabilities (examples, classes), got {truth.shape} and {p.shape}"
        )
    if not len(truth):
        raise ValueError("metrics need at least one example")
    if not np.isfinite(p).all() or (p < 0).any() or not np.allclose(p.sum(axis=1), 1.0, atol=1e-3):
        raise ValueError("probabilities must be finite, not negative, and sum to 1 in each row")
    if truth.min() < 0 or truth.max() >= p.shape[1]:
        raise ValueError(f"labels must be in 0..{p.shape[1] - 1}")
    return truth.astype(np.int64), p


def _per_class(counts: NDArray[np.int64]) -> list[dict[str, Any]]:
    hits, predicted, support = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    return [
        {
            "precision": _ratio(hits[index], predicted[index]),
            "recall": _ratio(hits[index], support[index]),
            "f1": _ratio(2 * hits[index], predicted[index] + support[index]),
            "support": int(support[index]),
        }
        for index in range(len(counts))
    ]


def _ratio(numerator: int, denominator: int) -> float | None:
    return float(numerator / denominator) if denominator else None


def _mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined and len(defined) == len(values) else None
