"""A course of numbers as a few characters of text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """A block for each value, the lowest value ▁ and the highest █; None, NaN and infinity are spaces.

    Args:
        width: Most characters; of more values than that, neighbours are averaged.
    """
    means = _means(values, width)
    defined = [value for value in means if value is not None]
    if not defined:
        return " " * len(means)
    low, span = min(defined), max(defined) - min(defined)
    return "".join(" " if value is None else _block((value - low) / span if span else 0.5) for value in means)


def _block(share: float) -> str:
    return BLOCKS[min(int(share * len(BLOCKS)), len(BLOCKS) - 1)]


def _means(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most `width` values, each the mean of the finite ones around it."""
    count = min(len(values), width)
    edges = [index * len(values) // count for index in range(count + 1)] if count else [0]
    return [_mean(values[low:high]) for low, high in pairwise(edges)]


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None and isfinite(value)]
    return sum(defined) / len(defined) if defined else None
