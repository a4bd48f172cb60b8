"""Which classes a run confuses, and how good it is on each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.metrics.classification import confusion_matrix
from rdrop_cli.core.report import drawing, words
from rdrop_cli.core.report.parts import Facts, Picture, Section, SideBySide, Table
from rdrop_cli.core.runs import layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.report.view import RunView

MOST_DRAWN = 16
"""Classes of a confusion matrix that can still be read as a picture."""
_MOST_MISTAKES = 20


def confusion(view: RunView) -> Section:
    """The section about single classes."""
    split = view.split
    parts: list[Picture | Table | Facts] = []
    missing = []
    models = view.models(split)
    counts = [
        confusion_matrix(each.raw.labels, each.raw.probabilities.argmax(axis=1), len(view.labels)) for each in models
    ]
    if not models:
        missing.append(f"No confusion matrix: {view.run.no(layout.PREDICTIONS['test'])}.")
    elif len(view.labels) <= MOST_DRAWN:
        for each, matrix, name in zip(models, counts, ("confusion", "confusion-other"), strict=False):
            parts.append(_matrix(view.labels, matrix, each.name, name))
    else:
        parts.append(_mistakes(view.labels, counts[0]))
    if per_class := view.run.metrics[split].get("per_class"):
        parts.append(_per_class(view.labels, per_class, split))
    blocks = [SideBySide(parts)] if parts else []
    lead = f"Which labels are given to the examples of each class, on {split}."
    return Section("confusion", "Classes and confusions", blocks, lead, missing)


def _matrix(names: Sequence[str], counts: NDArray[Any], of: str, name: str) -> Picture:
    """A confusion matrix.

    Args:
        counts: (classes, classes) examples: rows are true classes, columns predicted ones.
        of: The model's name where there are two, else empty.
        name: The picture's.
    """
    short = words.labels(names, 16 if len(names) > 2 else 20)
    size = len(names)
    with drawing.sheet(name, below="predicted", height=max(230, min(420, 110 + 46 * size))) as sheet:
        axes = sheet.axes
        for row in range(size):
            total = max(1, int(counts[row].sum()))
            for column in range(size):
                value = int(counts[row, column])
                colour = drawing.SERIES[0] if row == column else drawing.SERIES[1]
                axes.add_patch(_cell(column, row, colour, 0.06 + 0.5 * value / total if value else 0.0))
                text = f"{value:,}" if size > 3 else f"{value:,}\n{100 * value / total:.1f} %"
                ink = drawing.INK if value else drawing.MUTED
                axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=10.5 if size <= 8 else 8)
        axes.set_xlim(-0.5, size - 0.5)
        axes.set_ylim(size - 0.5, -0.5)
        turned = size > 4 or max(map(len, short)) * size > 44
        axes.set_xticks(range(size), short, rotation=40 if turned else 0, ha="right" if turned else "center")
        axes.set_yticks(range(size), short)
        axes.tick_params(labelcolor=drawing.INK, labelsize=10 if size <= 8 else 8)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_title("true class, by row")
    right = int(counts.diagonal().sum())
    text = (
        f"A grid of {size} by {size} counts; {right:,} of {int(counts.sum()):,} lie on the diagonal, labelled rightly."
    )
    table = Table(
        "Counts: rows are true classes, columns are predicted ones",
        ["", *names],
        [[true, *(f"{int(value):,}" for value in counts[row])] for row, true in enumerate(names)],
    )
    note = "Blue is right, orange is wrong; the stronger, the larger the share of its row."
    return Picture(name, f"Confusion matrix{f', {of}' if of else ''}", sheet.svg, text, table, note)


def _cell(column: int, row: int, colour: str, strength: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(
        (column - 0.47, row - 0.47), 0.94, 0.94, facecolor=colour, alpha=strength, linewidth=0, edgecolor="none"
    )


def _mistakes(names: Sequence[str], counts: NDArray[Any]) -> Table:
    """The most frequent confusions, where there are too many classes for a picture."""
    pairs = [
        (int(counts[true, given]), true, given)
        for true in range(len(names))
        for given in range(len(names))
        if true != given and counts[true, given]
    ]
    rows = [
        [names[true], names[given], f"{number:,}", words.percent(number / max(1, int(counts[true].sum())))]
        for number, true, given in sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:_MOST_MISTAKES]
    ]
    return Table("The most frequent confusions", ["true", "predicted", "examples", "of the class"], rows, texts=2)


def _per_class(names: Sequence[str], values: Sequence[dict[str, Any]], split: str) -> Table:
    rows = [
        [name, *(words.number(row.get(key), 3) for key in ("precision", "recall", "f1")), f"{row.get('support', 0):,}"]
        for name, row in zip(names, values, strict=False)
    ]
    return Table(f"Each class on {split}", ["class", "precision", "recall", "F1", "examples"], rows)
