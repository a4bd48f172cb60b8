"""How well a run ranks: ROC and precision-recall curves, of two classes or of one class against the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.report import drawing, words
from rdrop_cli.core.report.parts import Picture, Section, SideBySide, Table
from rdrop_cli.core.report.run_documents import POSITIVE
from rdrop_cli.core.report.view import of
from rdrop_cli.core.runs import layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.report.view import Model, RunView

MOST_CLASSES = 6
_POINTS = 240
_FALSE_POSITIVES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_RECALLS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class _Task:
    """A class against all others, by one model."""

    name: str
    is_positive: NDArray[np.bool_]
    scores: NDArray[np.float64]


def ranking(view: RunView) -> Section:
    """The section with both curves."""
    models = view.models(view.split)
    title = "ROC and precision-recall"
    if not models:
        return Section("ranking", title, missing=[f"Left out: {view.run.no(layout.PREDICTIONS['test'])}."])
    tasks = _tasks(models, view.labels)
    if not tasks:
        return Section("ranking", title, missing=["Left out: a curve needs examples of two classes at least."])
    return Section("ranking", title, [SideBySide([_roc(tasks), _precision_recall(tasks)])], _lead(view, tasks))


def _lead(view: RunView, tasks: Sequence[_Task]) -> str:
    if len(view.labels) == 2:
        return f"For the class {words.label(view.labels[POSITIVE], 60)!r}, on {view.split}."
    which = "each class" if len(tasks) == len(view.labels) else f"the {len(tasks)} most frequent classes"
    other = " Curves of A only." if view.other else ""
    return f"One class against the rest, for {which}, on {view.split}.{other}"


def _tasks(models: Sequence[Model], labels: Sequence[str]) -> list[_Task]:
    if len(labels) == 2:
        tasks = [
            _Task(each.name or "", each.raw.labels == POSITIVE, each.raw.probabilities[:, POSITIVE]) for each in models
        ]
    else:
        raw = models[0].raw
        sizes = np.bincount(raw.labels, minlength=len(labels))
        largest = sorted(np.argsort(-sizes, kind="stable")[:MOST_CLASSES].tolist())
        names = words.labels(labels, 14)
        tasks = [_Task(names[index], raw.labels == index, raw.probabilities[:, index]) for index in largest]
    return [task for task in tasks if 0 < task.is_positive.sum() < len(task.is_positive)]


def _roc(tasks: Sequence[_Task]) -> Picture:
    from sklearn.metrics import roc_auc_score, roc_curve

    columns, descriptions = [], []
    with drawing.sheet("roc", title="true-positive rate (recall)", below="false-positive rate", height=300) as sheet:
        sheet.axes.plot([0, 1], [0, 1], color=drawing.MUTED, linewidth=1, linestyle=(0, (2, 3)))
        for index, task in enumerate(tasks):
            false, true, _ = roc_curve(task.is_positive, task.scores)
            area = float(roc_auc_score(task.is_positive, task.scores))
            _curve(sheet, false, true, index, of(task.name, f"AUC {area:.3f}"))
            descriptions.append(of(task.name, f"area {area:.3f}"))
            columns.append([words.number(float(np.interp(at, false, true)), 3) for at in _FALSE_POSITIVES])
        _square(sheet)
        sheet.legend(1 if len(tasks) < 3 else 2)
    rows = [[words.percent(at, 0), *(column[row] for column in columns)] for row, at in enumerate(_FALSE_POSITIVES)]
    table = Table(
        "True-positive rate at a false-positive rate", ["false positives", *_heads(tasks, "true positives")], rows
    )
    text = f"The true-positive rate over the false-positive rate: {'; '.join(descriptions)}. Chance is the diagonal."
    return Picture("roc", "ROC curve", sheet.svg, text, table, "The dotted diagonal is what guessing gives.")


def _precision_recall(tasks: Sequence[_Task]) -> Picture:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    columns, descriptions = [], []
    with drawing.sheet("precision-recall", title="precision", below="recall", height=300) as sheet:
        for index, task in enumerate(tasks):
            precision, recall, _ = precision_recall_curve(task.is_positive, task.scores)
            area = float(average_precision_score(task.is_positive, task.scores))
            _curve(sheet, recall[::-1][1:], precision[::-1][1:], index, of(task.name, f"AP {area:.3f}"))
            descriptions.append(of(task.name, f"average precision {area:.3f}"))
            columns.append([words.number(float(precision[recall >= at].max()), 3) for at in _RECALLS])
        if len(tasks) == 1:
            base = float(tasks[0].is_positive.mean())
            sheet.axes.axhline(base, color=drawing.MUTED, linewidth=1, linestyle=(0, (2, 3)))
        _square(sheet)
        sheet.legend(1 if len(tasks) < 3 else 2)
    rows = [[words.percent(at, 0), *(column[row] for column in columns)] for row, at in enumerate(_RECALLS)]
    table = Table("The best precision at a recall of at least", ["recall", *_heads(tasks, "precision")], rows)
    text = f"Precision over recall: {'; '.join(descriptions)}."
    note = "The dotted line is the class's share of the examples." if len(tasks) == 1 else ""
    return Picture("precision-recall", "Precision-recall curve", sheet.svg, text, table, note)


def _heads(tasks: Sequence[_Task], alone: str) -> list[str]:
    return [task.name or alone for task in tasks]


def _curve(sheet: drawing.Sheet, x: NDArray[Any], y: NDArray[Any], index: int, name: str) -> None:
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).astype(int))
    look = drawing.style(index)
    sheet.axes.plot(x[kept], y[kept], label=drawing.legend_name(name), markevery=drawing.apart(index), **look)


def _square(sheet: drawing.Sheet) -> None:
    ticks = [0, 0.25, 0.5, 0.75, 1]
    names = ["0", "0.25", "0.5", "0.75", "1"]
    sheet.axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03))
    sheet.axes.set_xticks(ticks, names)
    sheet.axes.set_yticks(ticks, names)
