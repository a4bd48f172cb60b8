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
    """The predicted class, its probability, and the probabilities of all classes.

    Attributes:
        label: The most probable class; if the checkpoint has a threshold, the class that it gives. None: no label,
            because `score` is lower than was asked for.
        score: The probability of the label, or of the one that was not given.
        problem: Where the input is, and why an empty or repaired text was classified in its place; None: it was usable.
    """

    text: str
    label: str | None
    score: float
    probabilities: dict[str, float]
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The form in JSON output; `problem` only where there is one."""
        row = {"text": self.text, "label": self.label, "score": self.score, "probabilities": self.probabilities}
        return row if self.problem is None else {**row, "problem": self.problem}


def predict(
    classifier: Classifier, inputs: Iterable[Input], *, abstain_below: float | None = None
) -> Iterator[Prediction]:
    """One prediction for each input, in order, a chunk at a time.

    Args:
        abstain_below: Give no label where its probability is lower.
    """
    stream = iter(inputs)
    while chunk := list(islice(stream, CHUNK)):
        yield from predict_batch(classifier, chunk, abstain_below=abstain_below)


def predict_batch(
    classifier: Classifier, batch: Sequence[Input], *, abstain_below: float | None = None
) -> Iterator[Prediction]:
    """One prediction for each input, in order; all are classified together.

    Args:
        abstain_below: As for `predict`.
    """
    has_pairs = any(item.pair is not None for item in batch)
    pairs = [item.pair or "" for item in batch] if has_pairs else None
    dataset = classifier.encode([item.text for item in batch], pairs)
    names = classifier.labels.names
    batch_probabilities = classifier.probabilities(dataset)
    for item, row, chosen in zip(batch, batch_probabilities, classifier.decide(batch_probabilities), strict=True):
        probabilities = {name: float(value) for name, value in zip(names, row, strict=True)}
        score = float(row[chosen])
        label = names[chosen] if abstain_below is None or score >= abstain_below else None
        yield Prediction(item.text, label, score, probabilities, item.problem)
