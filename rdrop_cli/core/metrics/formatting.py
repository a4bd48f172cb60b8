"""Metrics, differences and p-values as text for tables, on a terminal and in Markdown; undefined values are a dash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def number(value: float | None, digits: int = 4) -> str:
    """A metric for a table; an undefined one is a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def change(value: float | None) -> str:
    """A difference with its sign."""
    return "–" if value is None else f"{value:+.4f}"


def bounds(interval: Sequence[float | None]) -> str:
    """An interval of a difference."""
    low, high = interval
    return "–" if low is None or high is None else f"{low:+.4f} to {high:+.4f}"


def p(value: float | None) -> str:
    """A p-value."""
    if value is None:
        return "–"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def difference(gap: Mapping[str, Any]) -> list[str]:
    """The cells for a difference of `results.document`: its size, its two intervals and its two p-values."""
    intervals = (bounds(gap[name]) for name in ("interval_seeds", "interval_examples"))
    return [change(gap["difference"]), *intervals, p(gap["p_value"]), p(gap["p_holm"])]
