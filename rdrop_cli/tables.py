"""Result tables: what was prepared, and how good a model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from rdrop_cli.console import add_row, number, table

METRIC_TITLES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "precision": "precision",
    "recall": "recall",
    "mcc": "MCC",
    "nll": "NLL",
}
MANY_CLASSES = 12


def metrics_table(splits: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a split."""
    shown = table("split", "examples", *METRIC_TITLES.values())
    for split, metrics in splits.items():
        cells = [number(metrics[name]) for name in METRIC_TITLES]
        add_row(shown, split, f"{metrics['examples']:,}", *cells, style="bold" if split == "test" else None)
    return shown


def average_of(labels: Sequence[str], positive: int = 1) -> str:
    """Which F1, precision and recall are meant."""
    return f"positive class {labels[positive]!r}" if len(labels) == 2 else f"macro over {len(labels)} classes"


def per_class_table(labels: Sequence[str], per_class: Sequence[Mapping[str, Any]]) -> Table:
    """One row a class."""
    shown = table("class", "examples", "precision", "recall", "F1")
    for name, row in zip(labels, per_class, strict=True):
        cells = (number(row["precision"]), number(row["recall"]), number(row["f1"]))
        add_row(shown, name, f"{row['support']:,}", *cells)
    return shown


def confusion_table(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Table:
    """Rows are true classes, columns predicted ones."""
    shown = table("true \\ predicted", *labels)
    for name, row in zip(labels, matrix, strict=True):
        add_row(shown, name, *(f"{count:,}" for count in row))
    return shown


def data_table(report: Mapping[str, Any]) -> Table:
    """One row a split: its size, token lengths, truncation."""
    tokens = report.get("tokens")
    columns = ["split", "examples"]
    if tokens:
        columns += ["tokens p50", "p95", "max", f"texts cut at {tokens['max_length']}", "tokens lost"]
    shown = table(*columns)
    for split, counts in report["classes"].items():
        cells = [f"{sum(counts.values()):,}"]
        if tokens:
            row = tokens["splits"][split]
            cells += [f"{row['p50']:,}", f"{row['p95']:,}", f"{row['max']:,}"]
            cells += [f"{row['truncated']:.1%}", f"{row['lost']:.1%}"]
        add_row(shown, split, *cells)
    return shown


def class_table(report: Mapping[str, Any]) -> Table:
    """One row a class, its examples in each split; of very many classes the largest and the smallest."""
    classes = report["classes"]
    first = next(iter(classes.values()))
    names = list(first)
    if len(names) > 2 * MANY_CLASSES:
        by_size = sorted(names, key=lambda name: -first[name])
        names = [*by_size[:MANY_CLASSES], *by_size[-MANY_CLASSES:]]
    shown = table("class", *classes)
    for name in names:
        add_row(
            shown,
            name,
            *(f"{counts[name]:,} ({counts[name] / sum(counts.values()):.0%})" for counts in classes.values()),
        )
    return shown
