"""The Python interface of `rdrop predict`: a loaded checkpoint that classifies texts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rdrop_cli.core.inference.backends.choice import open_classifier
from rdrop_cli.core.inference.inputs import Input, repaired
from rdrop_cli.core.inference.option_values import parse_backend, parse_device, parse_precision
from rdrop_cli.core.inference.prediction import Prediction, predict
from rdrop_cli.core.runs.checkpoint import find_checkpoint
from rdrop_cli.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rdrop_cli.core.inference.classifier import Classifier


def load(
    checkpoint: str | os.PathLike[str],
    *,
    backend: str = "torch",
    precision: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    trust_remote_code: bool = False,
) -> Predictor:
    """Load a checkpoint to classify texts.

    Limitations of its model or the device are reported as warnings. PyTorch's number of threads is not changed; the
    last bits of a probability can depend on it.

    Args:
        checkpoint: A run or checkpoint folder, a run's name under runs/, or a hub id, tried in this order.
        backend: torch, the default, because it gives the same numbers whether or not there is an export; onnx or
            onnx-int8, which need the checkpoint's ONNX export and do not load PyTorch; or auto: the float32 export if
            there is a usable one and neither a precision nor a GPU is named, else torch.
        precision: auto, float32, bfloat16 or float16; None: that of the training if the device supports it, else auto.
        device: auto, cpu, cuda, cuda:N or mps; None: auto, which is a GPU if there is one.
        batch_size: Texts per forward pass; None: as in the evaluations of the checkpoint's training.
        trust_remote_code: Run Python code that comes with the checkpoint.

    Raises:
        CheckpointError: there is no such checkpoint, it is not a text classifier, or it has no usable export.
        ModelError: it cannot be loaded, or fails on this device.
        ConfigError: there is no such backend, precision or device, or they cannot be combined, or the batch size is
            below 1.
        HubError: a model on the hub is not available.
    """
    chosen, wanted, place = parse_backend(backend), parse_precision(precision), parse_device(device)
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
    located = find_checkpoint(os.fspath(checkpoint), verify=chosen == "torch")
    notices: list[str] = []
    classifier = open_classifier(
        located,
        backend=chosen,
        many_texts=False,
        precision=wanted,
        device=place,
        batch_size=batch_size,
        trust_remote_code=trust_remote_code,
        notice=notices.append,
        memory_hint="Use a smaller batch_size.",
    )
    for notice in notices:
        warnings.warn(notice, stacklevel=2)
    return Predictor(classifier, located.columns.text_pair is not None)


class Predictor:
    """A loaded checkpoint; made by `load`.

    Attributes:
        labels: The names of the classes, in the order of their ids.
        threshold: From which probability on a class is predicted, if one was saved with the checkpoint; None: the most
            probable class is.
    """

    def __init__(self, classifier: Classifier, takes_pairs: bool) -> None:
        self._classifier = classifier
        self._takes_pairs = takes_pairs
        self.labels = classifier.labels.names
        self.threshold = classifier.threshold

    def predict(
        self, texts: Iterable[str | tuple[str, str]], *, abstain_below: float | None = None
    ) -> list[Prediction]:
        """A prediction for each text, or for each pair of texts, in order.

        Args:
            texts: Texts, or (text, second text) if the checkpoint was trained on pairs; truncated as in training.
            abstain_below: Give no label (None) where its probability is lower.

        Raises:
            DataError: a single text was given to a checkpoint that was trained on pairs.
            ConfigError: `abstain_below` is not above 0 and below 1.
            ModelError: memory ran out, or the model's output is not finite.
            TypeError: an item is neither a text nor a pair.
        """
        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts: use [text] for a single one")
        if abstain_below is not None and not 0 < abstain_below < 1:
            raise ConfigError(f"abstain_below must be above 0 and below 1, got {abstain_below}")
        return list(predict(self._classifier, map(self._input, texts), abstain_below=abstain_below))

    def _input(self, item: str | tuple[str, str]) -> Input:
        text, pair = (item, None) if isinstance(item, str) else _checked_pair(item)
        if pair is None and self._takes_pairs:
            raise DataError("this checkpoint classifies pairs of texts", "Give (text, second text).")
        return Input(repaired(text), None if pair is None else repaired(pair))


def _checked_pair(item: object) -> tuple[str, str]:
    if isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(text, str) for text in item):
        return item[0], item[1]
    raise TypeError(f"expected a text or a pair of texts, got {item!r}")
