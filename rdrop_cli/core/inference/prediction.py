"""Classify a stream of texts in constant memory, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    """The most probable class, its probability, and the probabilities of all classes."""

    text: str
    label: str
    score: float
    probabilities: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The form in JSON output."""
        return {"text": self.text, "label": self.label, "score": self.score, "probabilities": self.probabilities}


def predict(classifier: Classifier, inputs: Iterable[Input]) -> Iterator[Prediction]:
    """One prediction for each input, in order, a chunk at a time."""
    stream = iter(inputs)
    while chunk := list(islice(stream, CHUNK)):
        has_pairs = any(item.pair is not None for item in chunk)
        pairs = [item.pair or "" for item in chunk] if has_pairs else None
        dataset = classifier.encode([item.text for item in chunk], pairs)
        names = classifier.labels.names
        for item, row in zip(chunk, classifier.probabilities(dataset), strict=True):
            best = int(row.argmax())
            probabilities = {name: float(value) for name, value in zip(names, row, strict=True)}
            yield Prediction(item.text, names[best], float(row[best]), probabilities)
