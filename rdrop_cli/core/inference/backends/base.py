"""What `Classifier` needs of a backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rdrop_cli.core.data.labels import LabelMap
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BackendName = Literal["torch", "onnx", "onnx-int8"]
"""What runs a model: PyTorch, or ONNX Runtime in float32 or with 8-bit weights and products."""
BackendChoice = Literal["auto", "torch", "onnx", "onnx-int8"]
"""`auto`: whichever suits."""
DEFAULT_BATCH_SIZE = 64
"""For a checkpoint that records none."""


def check_kind(name: object, architectures: object, problem_type: object, classes: int) -> None:
    """Refuse a model that does not choose one of several classes.

    Args:
        name: The checkpoint, for messages.
        architectures: Like `problem_type`, as in config.json.
        classes: The number of classes.

    Raises:
        CheckpointError: it is something else.
    """
    names = [str(architecture) for architecture in architectures] if isinstance(architectures, list) else []
    if not any("ForSequenceClassification" in architecture for architecture in names):
        known = ", ".join(names) or "unknown"
        raise CheckpointError(f"{name}: not a fine-tuned text classifier ({known})")
    if classes < 2 or problem_type in ("regression", "multi_label_classification"):
        raise CheckpointError(f"{name}: not a single-label classifier ({problem_type or 'one output'})")


def label_map(path: object, id2label: object, classes: int) -> LabelMap:
    """The names of the classes in a config.json, which users may edit.

    Args:
        path: The file, for messages.
        id2label: The names by class id, which may be a number or its text.
        classes: The number of classes.

    Raises:
        CheckpointError: the names are not those of the classes, or two are the same.
    """
    names = {str(number): str(name) for number, name in id2label.items()} if isinstance(id2label, dict) else {}
    if names.keys() != {str(number) for number in range(classes)}:
        raise CheckpointError(f"{path}: id2label does not name the {classes} classes")
    ((most_frequent, count),) = Counter(names.values()).most_common(1)
    if count > 1:
        raise CheckpointError(f"{path}: id2label gives the name {most_frequent!r} to {count} classes")
    return LabelMap(tuple(names[str(number)] for number in range(classes)))


class Backend(Protocol):
    """A loaded model with its tokenizer."""

    @property
    def name(self) -> BackendName:
        """The name of the backend."""

    @property
    def labels(self) -> LabelMap:
        """The names of the classes."""

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, as `core.data.tokens.encode` takes it."""

    @property
    def max_length(self) -> int:
        """Longest input in tokens."""

    @property
    def batch_size(self) -> int:
        """Texts per forward pass, unless the user says otherwise."""

    @property
    def precision(self) -> str:
        """The precision of the matrix products, for display."""

    @property
    def by_exact_length(self) -> bool:
        """Whether texts of different lengths must not share a batch, because padding changes the logits."""

    def running(self) -> AbstractContextManager[object]:
        """A context for calls of `logits`.

        Raises:
            ModelError: memory ran out in the block.
        """

    def logits(self, features: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
        """The logits of one batch, (texts, classes).

        Args:
            features: As `Tokens.features` gives them.
        """
