"""What `Classifier` needs of a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rdrop_cli.core.data.labels import LabelMap
    from rdrop_cli.core.data.tokens import Tokens
    from rdrop_cli.schema import BackendName

DEFAULT_BATCH_SIZE = 64
"""For a checkpoint that records none."""


class Backend(Protocol):
    """A loaded model with its tokenizer."""

    @property
    def name(self) -> BackendName:
        """The name of the backend."""

    @property
    def labels(self) -> LabelMap:
        """The names of the classes."""

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

    def encode(
        self, texts: Sequence[str], pairs: Sequence[str] | None, on_progress: Callable[[int], None] | None = None
    ) -> Tokens:
        """Token ids of texts or pairs, truncated to `max_length`.

        Args:
            on_progress: Called with the number of texts just encoded.
        """

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
