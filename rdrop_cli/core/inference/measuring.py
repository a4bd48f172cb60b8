"""Measure a classifier on labelled examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.data.label_column import read_labels_as
from rdrop_cli.core.metrics.calibration import at_temperature, calibrated_metrics
from rdrop_cli.core.metrics.classification import classification_metrics, confusion_matrix
from rdrop_cli.core.metrics.predictions import Predictions
from rdrop_cli.core.progress import Progress, counting, no_progress
from rdrop_cli.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.data.labels import LabelMap
    from rdrop_cli.core.inference.classifier import Classifier
    from rdrop_cli.core.inference.examples import Examples
    from rdrop_cli.core.runs.calibration import Calibration


@dataclass(frozen=True)
class Measurement:
    """The results of `measure`.

    Attributes:
        labels: The names of the classes, in the order of their ids.
        positive: The positive class's id; meaningful with two classes only.
        metrics: As `classification_metrics` gives them, of the raw probabilities; and as `calibrated_metrics` does.
        confusion_matrix: (classes, classes) counts; rows are true classes.
        label_note: How the data's labels were interpreted; None: they are the names of the classes.
        predictions: The true classes and the raw probabilities.
        calibration: What the checkpoint records of its temperature; None: its probabilities are not calibrated.
    """

    labels: tuple[str, ...]
    positive: int
    metrics: dict[str, Any]
    confusion_matrix: list[list[int]]
    label_note: str | None
    predictions: Predictions
    calibration: Calibration | None = None


def measure(
    classifier: Classifier,
    examples: Examples,
    *,
    positive_label: str | None = None,
    label_map: Mapping[str, str] | None = None,
    label_ids: Mapping[str, str] | None = None,
    on_progress: Progress = no_progress,
) -> Measurement:
    """Classify labelled examples and measure.

    Args:
        positive_label: The positive class for F1, precision, recall and ROC-AUC; None: the one with id 1.
        label_map: The class for each label that has another name in the data.
        label_ids: How training read labels that are not names, if the checkpoint records it.

    Raises:
        DataError: the checkpoint does not know a label or the class names.
    """
    truth, note = true_classes(classifier.labels, examples, label_map=label_map, label_ids=label_ids)
    positive = 1
    if positive_label is not None:
        class_id = classifier.labels.id_of(positive_label)
        if class_id is None:
            raise DataError(f"--positive-label: {classifier.labels.explain_unknown(positive_label)}")
        if len(classifier.labels) != 2:
            raise DataError(
                f"--positive-label needs exactly two classes, but this checkpoint has {len(classifier.labels)}"
            )
        positive = class_id

    probabilities = classify(classifier, examples, on_progress)
    matrix = confusion_matrix(truth, probabilities.argmax(axis=1), len(classifier.labels))
    return Measurement(
        classifier.labels.names,
        positive,
        {
            **classification_metrics(truth, probabilities, positive=positive),
            **calibrated_metrics(truth, probabilities, classifier.temperature if classifier.calibration else None),
        },
        matrix.tolist(),
        label_note=note,
        predictions=Predictions(truth, probabilities),
        calibration=classifier.calibration,
    )


def true_classes(
    labels: LabelMap,
    examples: Examples,
    *,
    label_map: Mapping[str, str] | None = None,
    label_ids: Mapping[str, str] | None = None,
) -> tuple[NDArray[np.int64], str | None]:
    """The class ids of labelled examples, (examples,), and a note on how labels were read (None: by name).

    Raises:
        DataError: the checkpoint does not know a label or the class names.
    """
    reading = read_labels_as(
        labels,
        set(examples.labels),
        names_of_ids=examples.names,
        label_map=label_map,
        label_ids=label_ids,
        where=examples.name,
    )
    unknown = next((index for index, label in enumerate(examples.labels) if label not in reading.ids), None)
    if unknown is not None:
        label = examples.labels[unknown]
        raise DataError(
            f"{examples.where(unknown)}: {labels.explain_unknown(label)}",
            f"Map it to a class with --label-map '{label}=CLASS', or remove such rows.",
        )
    return np.array([reading.ids[label] for label in examples.labels], dtype=np.int64), reading.note


def classify(
    classifier: Classifier,
    examples: Examples,
    on_progress: Progress = no_progress,
    of: str = "",
) -> NDArray[np.float64]:
    """A checkpoint's raw probabilities for examples, before any calibration, (examples, classes).

    Args:
        of: Text to append to the names of stages, such as the checkpoint's name.
    """
    total = len(examples.texts)
    dataset = classifier.encode(examples.texts, examples.pairs, counting(on_progress, f"Tokenizing{of}", total))
    probabilities = classifier.probabilities(dataset, counting(on_progress, f"Classifying{of}", total))
    if classifier.temperature == 1.0:
        return probabilities
    return at_temperature(probabilities, 1 / classifier.temperature)


def class_order(of: LabelMap, to: LabelMap, name: str) -> list[int]:
    """For each class of `to`, its id in `of`.

    Args:
        name: Name of the checkpoint with the classes `of`, for the message.

    Raises:
        CheckpointError: the two have different classes.
    """
    if set(of.names) != set(to.names):
        raise CheckpointError(
            f"{name}: its classes are {', '.join(of.names)}, not {', '.join(to.names)}",
            "Only checkpoints with the same classes can be compared.",
        )
    return [of.names.index(label) for label in to.names]
