"""Tables about classes, which may be many, on terminals that are narrow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.terminal.console import add_row, safe, table

if TYPE_CHECKING:
    from rich.table import Table

MANY_CLASSES = 12
"""More than these are never shown side by side, and more than twice as many not all below one another."""
_PAIRS = 15
"""Pairs of classes that are confused most."""
_NAME = 20
"""Characters of a name or text that numbers leave room for."""
_TEXT = 60
"""Characters of a text that was classified."""


def class_table(report: Mapping[str, Any]) -> tuple[str, Table]:
    """A title, and one row a class with its examples in each split; of very many the largest and the smallest."""
    classes = report["classes"]
    first = next(iter(classes.values()))
    names = list(first)
    title = f"Classes ({len(names)})"
    if len(names) > 2 * MANY_CLASSES:
        by_size = sorted(names, key=lambda name: -first[name])
        names = [*by_size[:MANY_CLASSES], *by_size[-MANY_CLASSES:]]
        title = f"Classes: the {MANY_CLASSES} largest and the {MANY_CLASSES} smallest of {len(first):,} (all: --json)"
    shown = table("class", *classes)
    for name in names:
        add_row(
            shown,
            name,
            *(f"{counts[name]:,} ({counts[name] / sum(counts.values()):.0%})" for counts in classes.values()),
        )
    return title, shown


def per_class_table(labels: Sequence[str], per_class: Sequence[Mapping[str, Any]]) -> tuple[str, Table]:
    """A title, and one row a class; of very many those with the lowest F1."""
    title, rows = "Classes", list(zip(labels, per_class, strict=True))
    if len(rows) > 2 * MANY_CLASSES:
        rows.sort(key=lambda row: (row[1]["f1"] is None, row[1]["f1"]))
        rows = rows[: 2 * MANY_CLASSES]
        title = f"Classes: the {len(rows)} with the lowest F1 of {len(labels):,} (all: --json)"
    shown = table("class", "examples", "precision", "recall", "F1")
    for name, row in rows:
        cells = (number(row["precision"]), number(row["recall"]), number(row["f1"]))
        add_row(shown, name, f"{row['support']:,}", *cells)
    return title, shown


def confusion_table(
    labels: Sequence[str], matrix: Sequence[Sequence[int]], fits: Callable[[Table], bool]
) -> tuple[str, Table]:
    """A title, and the confusion matrix; where it does not fit, the pairs of classes that are confused most.

    Args:
        matrix: Rows are true classes, columns predicted ones.
        fits: Whether a table fits the terminal.
    """
    if len(labels) <= MANY_CLASSES:
        numbers = [str(index) for index in range(1, len(labels) + 1)]
        numbered = [f"{index} {name}" for index, name in zip(numbers, labels, strict=True)]
        for columns, rows in ((labels, labels), (numbers, numbered)):
            shown = table("true \\ predicted", *columns)
            shown.columns[0].max_width = _NAME
            for name, counts in zip(rows, matrix, strict=True):
                add_row(shown, name, *(f"{count:,}" for count in counts))
            if fits(shown):
                shown.columns[0].max_width = None
                return "Confusion matrix", shown
    return _confused_pairs(labels, matrix)


def _confused_pairs(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> tuple[str, Table]:
    pairs = [
        (count, true, predicted)
        for true, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    pairs.sort(key=lambda pair: -pair[0])
    shown = table("true class", "predicted as", "examples", "of the class", names=(0, 1))
    for count, true, predicted in pairs[:_PAIRS]:
        add_row(shown, labels[true], labels[predicted], f"{count:,}", f"{count / sum(matrix[true]):.1%}")
    if not pairs:
        return "Confused classes: none, every example is classified correctly", shown
    some = f"{min(_PAIRS, len(pairs))} of {len(pairs):,} pairs"
    return f"Most confused classes, {some} (the whole matrix: --json)", shown


def predictions_table(
    predictions: Sequence[tuple[str, str | None, float, Mapping[str, float]]],
    labels: Sequence[str],
    fits: Callable[[Table], bool],
) -> tuple[Table, bool]:
    """One row a text; and whether it has the probabilities of all classes, or only those of the likeliest.

    Args:
        predictions: Texts, each with its label (None: it got none), the score, and the probability of every class.
        fits: Whether a table fits the terminal.
    """
    if len(labels) <= MANY_CLASSES:
        shown = table("text", "label", "score", *labels)
        for text, label, score, probabilities in predictions:
            numbers = (number(value) for value in (score, *(probabilities[name] for name in labels)))
            add_row(shown, safe(text, _TEXT), _or_dash(label), *numbers)
        shown.columns[0].max_width = _NAME
        if fits(shown):
            shown.columns[0].max_width = None
            return shown, True
    shown = table("text", "label", "score", "next likeliest", names=(0, 1, 3))
    for text, label, score, probabilities in predictions:
        others = [(name, value) for name, value in _ranked(probabilities) if name != label][:2]
        next_ones = ", ".join(f"{name} {number(value)}" for name, value in others)
        add_row(shown, safe(text, _TEXT), _or_dash(label), number(score), next_ones)
    return shown, False


def _or_dash(label: str | None) -> str:
    return "–" if label is None else label


def _ranked(probabilities: Mapping[str, float]) -> list[tuple[str, float]]:
    """Classes with their probabilities, the likeliest first."""
    return sorted(probabilities.items(), key=lambda item: -item[1])
