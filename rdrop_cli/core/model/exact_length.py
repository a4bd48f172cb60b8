"""Batches of texts of equal length, for models whose logits change with padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PADDING_MATTERS = (
    "This model's predictions change with padding, so texts are evaluated in batches of equal length, which takes"
    " longer"
)


def batches_of(lengths: NDArray[np.int64] | Sequence[int], size: int, *, exact: bool) -> Iterator[slice]:
    """Divide examples into spans of at most `size`.

    Args:
        lengths: Tokens of each example, in an order that keeps equal lengths together.
        exact: All examples of a span must have the same length.
    """
    start = 0
    while start < len(lengths):
        end = min(start + size, len(lengths))
        if exact:
            other = np.flatnonzero(np.asarray(lengths[start:end]) != lengths[start])
            end = start + int(other[0]) if len(other) else end
        yield slice(start, end)
        start = end
