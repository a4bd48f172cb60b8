"""Tables about thresholds, and about leaving unsure examples without a label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.terminal.console import add_row, table

if TYPE_CHECKING:
    from rich.table import Table

    from rdrop_cli.core.metrics.abstaining import CoveragePoint
    from rdrop_cli.core.metrics.thresholds import Curve

_METRICS = {"accuracy": "accuracy", "f1": "F1", "precision": "precision", "recall": "recall"}


def curve_table(curve: Curve, chosen: int) -> Table:
    """About ten thresholds, from the lowest on, with what each gives; the chosen one is marked."""
    shown = table("threshold", "precision", "recall", "F1", "", names=(4,))
    indices = curve.examples_of(chosen)
    for index, row in zip(indices, curve.rows(indices), strict=True):
        is_chosen = index == chosen
        cells = (number(row[name]) for name in ("threshold", "precision", "recall", "f1"))
        add_row(shown, *cells, "chosen" if is_chosen else "", style="bold" if is_chosen else None)
    return shown


def threshold_table(without: Mapping[str, Any], at_threshold: Mapping[str, Any], threshold: str) -> Table:
    """What is measured without a threshold and with it, a row each."""
    shown = table("predicted", *_METRICS.values())
    for name, metrics in (("the most probable class", without), (f"from {threshold} on", at_threshold)):
        add_row(shown, name, *(number(metrics[metric]) for metric in _METRICS))
    return shown


def coverage_table(covered: Sequence[CoveragePoint]) -> Table:
    """One row for each share of the examples that gets a label."""
    shown = table("labelled", "examples", "errors", "accuracy", "confidence at least", names=())
    for row in covered:
        cells = (f"{row.coverage:.1%}", f"{row.labelled:,}", f"{row.errors:,}", number(row.accuracy))
        add_row(shown, *cells, rounded_down(row.confidence))
    return shown


def rounded_down(confidence: float) -> str:
    """A confidence such that examples of exactly this confidence are not below what is shown."""
    return number(math.floor(confidence * 1e4) / 1e4)
