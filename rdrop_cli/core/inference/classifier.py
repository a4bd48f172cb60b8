"""Classify many texts with one deterministic pass, in batches by length, and return the results in the texts' order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rdrop_cli import processes
from rdrop_cli.core.data.tokens import TokenDataset, encode
from rdrop_cli.core.metrics.predictions import softmax
from rdrop_cli.core.metrics.thresholds import labels_at
from rdrop_cli.core.model.exact_length import batches_of
from rdrop_cli.core.runs.threshold import Threshold
from rdrop_cli.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.data.labels import LabelMap
    from rdrop_cli.core.inference.backends.base import Backend
    from rdrop_cli.core.runs.calibration import Calibration


class Classifier:
    """Gives class probabilities for texts.

    Args:
        backend: The loaded model.
        batch_size: Texts per forward pass; None: the backend's own.
        calibration: What the checkpoint records of its temperature; None: its probabilities are not calibrated.

    Attributes:
        threshold: From which probability on a class is predicted; None: the most probable class is.
    """

    def __init__(
        self, backend: Backend, *, batch_size: int | None = None, calibration: Calibration | None = None
    ) -> None:
        self.backend = backend
        self.calibration = calibration
        self.batch_size = batch_size or backend.batch_size
        self.threshold: Threshold | None = None

    @property
    def labels(self) -> LabelMap:
        """The names of the classes."""
        return self.backend.labels

    @property
    def temperature(self) -> float:
        """What the logits of `probabilities` were divided by; 1 if they are raw."""
        return 1.0 if self.calibration is None else self.calibration.temperature

    def encode(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, on_progress: Callable[[int], None] | None = None
    ) -> TokenDataset:
        """Token ids of texts, truncated to the checkpoint's maximum length."""
        backend = self.backend
        tokens = encode(
            backend.tokenizer, texts, pairs, max_length=backend.max_length, count_all=False, on_progress=on_progress
        )
        return TokenDataset(tokens, None)

    def probabilities(
        self, dataset: TokenDataset, on_progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float64]:
        """Class probabilities, calibrated if the model is: `at_temperature(p, 1 / temperature)` gives the raw ones.

        Several processes share the work, and each gets all results.

        Args:
            on_progress: Called with the number of texts just classified.

        Returns:
            (examples, classes), in the order of the data set.
        """
        order = np.argsort(-dataset.lengths, kind="stable")
        logits = np.zeros((len(dataset), len(self.labels)), dtype=np.float32)
        with self.backend.running():
            batches = batches_of(dataset.lengths[order], self.batch_size, exact=self.backend.by_exact_length)
            for index, span in enumerate(batches):
                rows = order[span]
                if on_progress is not None:
                    on_progress(len(rows))
                if index % processes.world_size() != processes.rank():
                    continue
                features = [dataset[int(row)] for row in rows]
                for feature in features:
                    feature.pop("labels", None)
                logits[rows] = self.backend.logits(features)
        logits = processes.summed(logits)
        if not np.isfinite(logits).all():
            raise ModelError("the model's output is not finite", "Its weights may be damaged; try float32.")
        is_raw = self.calibration is not None and not self.calibration.in_head
        return softmax(logits / self.temperature if is_raw else logits)

    def move_threshold(self, value: float | None) -> None:
        """Put another threshold in the place of the checkpoint's, for the same class, or for the one with id 1.

        Args:
            value: Above 0 and below 1; None: the most probable class is predicted.

        Raises:
            ConfigError: there are not two classes.
        """
        if value is None:
            self.threshold = None
            return
        if len(self.labels) != 2:
            raise ConfigError(f"a threshold needs exactly two classes, but this checkpoint has {len(self.labels)}")
        label = self.labels.names[1] if self.threshold is None else self.threshold.label
        self.threshold = Threshold(value, label)

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """(examples,) the class ids that are predicted, by the threshold if there is one.

        Args:
            probabilities: (examples, classes), as `probabilities` gives them.
        """
        if self.threshold is None:
            return probabilities.argmax(axis=1)
        return labels_at(probabilities, self.labels.names.index(self.threshold.label), self.threshold.value)
