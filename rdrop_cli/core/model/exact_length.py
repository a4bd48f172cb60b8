"""Batches of texts of one length, for models whose logits would change with padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PADDING_MATTERS = (
    "This model's predictions change with padding: texts are evaluated in batches of equal length, which takes longer"
)


def batches_of(lengths: NDArray[np.int64] | Sequence[int], size: int, *, exact: bool) -> Iterator[slice]:
    """Spans of at most `size` examples.

    Args:
        lengths: Tokens of each example, in an order that keeps equal ones together.
        exact: Let no span hold two different lengths.
    """
    start = 0
    while start < len(lengths):
        end = min(start + size, len(lengths))
        if exact:
            other = np.flatnonzero(np.asarray(lengths[start:end]) != lengths[start])
            end = start + int(other[0]) if len(other) else end
        yield slice(start, end)
        start = end
