"""Compare an exported model with PyTorch on labelled texts: labels, probabilities, metrics and speed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.metrics.classification import classification_metrics
from rdrop_cli.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.inference.classifier import Classifier
    from rdrop_cli.core.progress import Progress

LARGEST_DIFFERENCE = 1e-4
"""Of a probability, between the float32 export and PyTorch in float32."""
MOST_CHANGED = 0.02
"""Share of labels that the int8 export may change."""
_TURNS = 4


@dataclass(frozen=True)
class Sample:
    """Labelled texts to compare on.

    Attributes:
        pairs: The second texts of pairs; None for single texts.
        labels: (texts,) class ids.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None
    labels: NDArray[np.int64]

    def part(self, turn: int) -> tuple[list[str], list[str] | None]:
        """The texts of one turn, and their pairs."""
        span = slice(turn, None, min(_TURNS, len(self.texts)))
        return list(self.texts[span]), None if self.pairs is None else list(self.pairs[span])


def compare_backends(
    classifiers: Mapping[str, Classifier], sample: Sample, on_progress: Progress
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """Classify the sample with several classifiers in turn, so that a change of the machine's load affects all.

    Returns:
        The probabilities of each, (texts, classes), and its texts per second, tokenization included.
    """
    count, turns = len(sample.texts), min(_TURNS, len(sample.texts))
    seconds = dict.fromkeys(classifiers, 0.0)
    probabilities: dict[str, NDArray[np.float64]] = {}
    done, total = 0, count * len(classifiers)
    for classifier in classifiers.values():
        classifier.probabilities(classifier.encode(sample.texts[:1], sample.pairs and sample.pairs[:1]))  # warm up
    for turn in range(turns):
        texts, pairs = sample.part(turn)
        for name, classifier in classifiers.items():
            began = time.perf_counter()
            values = classifier.probabilities(classifier.encode(texts, pairs))
            seconds[name] += time.perf_counter() - began
            probabilities.setdefault(name, np.zeros((count, values.shape[1])))[turn::turns] = values
            done += len(texts)
            on_progress("Comparing with PyTorch", done, total)
    return probabilities, {name: count / spent for name, spent in seconds.items()}


def require_equal_tokens(expected: Classifier, exported: Classifier, sample: Sample) -> None:
    """Make sure that tokenizer.json alone gives the tokens that Transformers' tokenizer gives.

    Raises:
        ModelError: it does not, as where Transformers adds to a tokenizer in code.
    """
    theirs, ours = (classifier.encode(sample.texts, sample.pairs) for classifier in (expected, exported))
    for index, text in enumerate(sample.texts):
        rows = [{name: list(values) for name, values in encoded[index].items()} for encoded in (theirs, ours)]
        if rows[0] != rows[1]:
            raise ModelError(
                f"tokenizer.json gives other tokens than Transformers' tokenizer, for instance for {text[:50]!r}",
                "Without Transformers this model cannot be used; use PyTorch.",
            )


def agreement(
    probabilities: NDArray[np.float64], expected: NDArray[np.float64], labels: NDArray[np.int64]
) -> dict[str, Any]:
    """How one classifier's probabilities relate to those of PyTorch in float32.

    Args:
        probabilities: Like `expected`, (texts, classes).
        labels: (texts,) class ids.

    Returns:
        labels_changed, as a number of texts; largest_difference of a probability; accuracy; nll in nats.
    """
    metrics = classification_metrics(labels, probabilities)
    return {
        "labels_changed": int((probabilities.argmax(axis=1) != expected.argmax(axis=1)).sum()),
        "largest_difference": float(np.abs(probabilities - expected).max()),
        "accuracy": metrics["accuracy"],
        "nll": metrics["nll"],
    }
