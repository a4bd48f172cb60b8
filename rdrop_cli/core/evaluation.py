"""How good a checkpoint is on labelled examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdrop_cli.core.examples import Examples
from rdrop_cli.core.inference import Classifier
from rdrop_cli.core.metrics import classification_metrics, confusion_matrix
from rdrop_cli.core.outcome import Predictions
from rdrop_cli.core.tokenization import TokenDataset
from rdrop_cli.errors import DataError


@dataclass(frozen=True)
class Evaluation:
    """Metrics as `classification_metrics` gives them; the matrix's rows are true classes.

    Attributes:
        by_id: The data's labels were ids, not names.
        predictions: What all of this is about.
    """

    labels: tuple[str, ...]
    positive: int
    metrics: dict[str, Any]
    confusion_matrix: list[list[int]]
    by_id: bool
    predictions: Predictions


def evaluate(
    classifier: Classifier,
    examples: Examples,
    *,
    positive_label: str | None = None,
    on_progress: Callable[[str, int, int | None], None] | None = None,
) -> Evaluation:
    """Classify labelled examples and measure.

    Args:
        positive_label: The class that F1, precision, recall and ROC-AUC are about; None: the one with id 1.

    Raises:
        DataError: a label that the checkpoint does not know.
    """
    truth = np.empty(len(examples.labels), dtype=np.int64)
    # The data's own names of its ids count where the checkpoint knows them.
    known = set(examples.names) <= set(classifier.labels.names)
    names = {str(index): name for index, name in enumerate(examples.names)} if known else {}
    for index, label in enumerate(examples.labels):
        label_id = classifier.labels.id_of(names.get(label, label))
        if label_id is None:
            raise DataError(f"{examples.where(index)}: {classifier.labels.explain_unknown(label)}")
        truth[index] = label_id
    positive = 1
    if positive_label is not None:
        found = classifier.labels.id_of(positive_label)
        if found is None:
            raise DataError(f"--positive-label: {classifier.labels.explain_unknown(positive_label)}")
        if len(classifier.labels) != 2:
            raise DataError(f"--positive-label is for two classes, this checkpoint has {len(classifier.labels)}")
        positive = found

    probabilities = classify(classifier, examples, on_progress)
    matrix = confusion_matrix(truth, probabilities.argmax(axis=1), len(classifier.labels))
    return Evaluation(
        classifier.labels.names,
        positive,
        classification_metrics(truth, probabilities, positive=positive),
        matrix.tolist(),
        by_id=not names and not set(examples.labels) <= set(classifier.labels.names),
        predictions=Predictions(truth, probabilities),
    )


def classify(
    classifier: Classifier,
    examples: Examples,
    on_progress: Callable[[str, int, int | None], None] | None = None,
    of: str = "",
) -> NDArray[np.float64]:
    """A checkpoint's probabilities for examples, (examples, classes).

    Args:
        of: What is classified with, behind the name of a stage.
    """
    progress = on_progress or (lambda stage, done, total: None)
    total = len(examples.texts)
    done = {"Tokenizing": 0, "Classifying": 0}

    def advance(stage: str) -> Callable[[int], None]:
        def add(count: int) -> None:
            done[stage] += count
            progress(stage + of, done[stage], total)

        return add

    dataset: TokenDataset = classifier.encode(examples.texts, examples.pairs, advance("Tokenizing"))
    return classifier.probabilities(dataset, advance("Classifying"))
