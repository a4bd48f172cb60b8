"""Classify a stream of texts in constant memory, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdrop_cli.core.inference.classifier import Classifier
    from rdrop_cli.core.inference.inputs import Input

CHUNK = 2048
"""Number of texts in memory at once: enough to batch by length."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable class, its probability, and the probabilities of all classes.

    Attributes:
        problem: Where the input is, and why an empty or repaired text was classified in its place; None: it was usable.
    """

    text: str
    label: str
    score: float
    probabilities: dict[str, float]
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The form in JSON output; `problem` only where there is one."""
        row = {"text": self.text, "label": self.label, "score": self.score, "probabilities": self.probabilities}
        return row if self.problem is None else {**row, "problem": self.problem}


def predict(classifier: Classifier, inputs: Iterable[Input]) -> Iterator[Prediction]:
    """One prediction for each input, in order, a chunk at a time."""
    stream = iter(inputs)
    while chunk := list(islice(stream, CHUNK)):
        yield from predict_batch(classifier, chunk)


def predict_batch(classifier: Classifier, batch: Sequence[Input]) -> Iterator[Prediction]:
    """One prediction for each input, in order; all are classified together."""
    has_pairs = any(item.pair is not None for item in batch)
    pairs = [item.pair or "" for item in batch] if has_pairs else None
    dataset = classifier.encode([item.text for item in batch], pairs)
    names = classifier.labels.names
    for item, row in zip(batch, classifier.probabilities(dataset), strict=True):
        best = int(row.argmax())
        probabilities = {name: float(value) for name, value in zip(names, row, strict=True)}
        yield Prediction(item.text, names[best], float(row[best]), probabilities, item.problem)
