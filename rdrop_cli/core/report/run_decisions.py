"""What could be done with a run's probabilities: leave the unsure examples to people, or move the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.metrics import thresholds
from rdrop_cli.core.metrics.calibration import aurc, risk_coverage
from rdrop_cli.core.report import drawing, words
from rdrop_cli.core.report.parts import Facts, Picture, Section, SideBySide, Table
from rdrop_cli.core.report.run_documents import CARD, POSITIVE
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.threshold import read_threshold
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rdrop_cli.core.metrics.predictions import Predictions
    from rdrop_cli.core.report.view import Model, RunView

_POINTS = 240
_COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.1)


def decisions(view: RunView) -> Section:
    """The section about abstaining and thresholds."""
    pictures: list[Picture] = []
    missing = []
    models = view.models(view.split)
    if models:
        pictures.append(_risk(models, view.split))
    else:
        missing.append(f"No risk against coverage: {view.run.no(layout.PREDICTIONS['test'])}.")
    tables: list[Table] = []
    if len(view.labels) == 2:
        on_validation = view.models("validation")
        made = (
            _thresholds(view, on_validation[0].given, on_validation[0].name)
            if on_validation
            else view.run.no(layout.PREDICTIONS["validation"])
        )
        if isinstance(made, Picture):
            pictures.append(made)
        else:
            missing.append(f"No thresholds: {made}.")
        if models and (effect := _with_threshold(view, models[0].given)):
            tables.append(effect)
    lead = "Labels can be withheld where the model is unsure, for people to look at."
    if len(view.labels) == 2:
        lead += " A threshold other than 0.5 makes one class easier to predict, and the other harder."
    parts: list[Picture | Table | Facts] = [*pictures, *(each.table for each in pictures if len(pictures) == 1)]
    blocks = [SideBySide(parts)] if parts else []
    return Section("decisions", "Abstaining and thresholds", [*blocks, *tables], lead if parts else "", missing)


def _risk(models: Sequence[Model], split: str) -> Picture:
    columns, descriptions = [], []
    with drawing.sheet("risk", title="share of errors", below="coverage: share of examples that get a label") as sheet:
        for index, each in enumerate(models):
            predictions = each.best
            coverage, risk = risk_coverage(predictions.labels, predictions.probabilities)
            first = max(0, min(len(risk) - 1, len(risk) // 50))  # the few most confident ones say little
            kept = np.unique(np.linspace(first, len(risk) - 1, min(len(risk) - first, _POINTS)).astype(int))
            sheet.axes.plot(
                coverage[kept],
                risk[kept],
                label=drawing.legend_name(each.name) or None,
                markevery=drawing.apart(index),
                **drawing.style(index),
            )
            confidence = np.sort(predictions.probabilities.max(axis=1))[::-1]
            columns.append([_at(share, risk, confidence) for share in _COVERAGES])
            area = aurc(predictions.labels, predictions.probabilities)
            who = f"{each.name}: " if each.name else ""
            descriptions.append(
                f"{who}{risk[-1]:.1%} of all, {_risk_at(risk, 0.5):.1%} of the surest half, area {area:.4f}"
            )
        sheet.axes.set(xlim=(0, 1.02))
        sheet.axes.set_ylim(bottom=0)
        sheet.axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        drawing.percent(sheet.axes.xaxis)
        drawing.percent(sheet.axes.yaxis)
        sheet.legend(1)
    heads = [
        f"{what}{f', {each.name}' if each.name else ''}"
        for each in models
        for what in ("confidence at least", "errors")
    ]
    rows = [
        [words.percent(share, 0), *(cell for column in columns for cell in column[row])]
        for row, share in enumerate(_COVERAGES)
    ]
    table = Table(f"The most confident examples of {split}", ["coverage", *heads], rows)
    text = f"The share of errors over the share of examples that get a label: {'; '.join(descriptions)}."
    note = "Further left, fewer examples get a label: only those that the model is surest of."
    return Picture("risk", "Risk against coverage", sheet.svg, text, table, note)


def _at(share: float, risk: NDArray[Any], confidence: NDArray[Any]) -> tuple[str, str]:
    last = max(1, round(share * len(risk))) - 1
    return words.number(float(confidence[last]), 3), words.percent(float(risk[last]))


def _risk_at(risk: NDArray[Any], share: float) -> float:
    return float(risk[max(1, round(share * len(risk))) - 1])


def _thresholds(view: RunView, predictions: Predictions, name: str) -> Picture | str:
    """The picture; or why there is none.

    Args:
        predictions: What the model of best/ gives on validation.
    """
    positive = view.labels[POSITIVE]
    try:
        curve = thresholds.threshold_curve(predictions.labels == POSITIVE, predictions.probabilities[:, POSITIVE])
    except thresholds.Unreachable as error:
        return f"{error} ({words.label(positive)})"
    best, used = thresholds.choose(curve, thresholds.Rule("f1")), _used(view)
    at = float(curve.thresholds[best]) if used is None else used
    lines = {"precision": curve.precision, "recall": curve.recall, "F1": curve.f1}
    below = f"threshold on the probability of {words.label(positive, 16)}"
    drawn = curve.thinned(best, _POINTS)
    with drawing.sheet("thresholds", title="on validation", below=below) as sheet:
        for index, (metric, values) in enumerate(lines.items()):
            look = {"markevery": drawing.apart(index), **drawing.style(index)}
            sheet.axes.plot(curve.thresholds[drawn], values[drawn], label=metric, **look)
        sheet.axes.axvline(at, color=drawing.INK, linewidth=1, linestyle=(0, (2, 2)))
        sheet.axes.set(xlim=(0, 1), ylim=(0, 1.03))
        sheet.legend(3)
    nearest = int(np.abs(curve.thresholds - at).argmin())
    rows = [[words.number(row[key], 3) for key in row] for row in curve.rows(curve.examples_of(nearest))]
    table = Table("Thresholds on validation", ["threshold", *lines], rows)
    line = f"where F1 is highest, {at:.3f}" if used is None else f"the run's threshold, {used:.3f}"
    whose = f" of {name}" if name else ""
    note = (
        f"The line is {line}; probabilities are those that the model{whose} gives. A threshold is chosen on validation."
    )
    text = f"Precision, recall and F1 over the threshold; F1 is highest at {curve.thresholds[best]:.3f}."
    return Picture("thresholds", "Thresholds", sheet.svg, text, table, note)


def _with_threshold(view: RunView, predictions: Predictions) -> Table | None:
    """What the run's threshold does to labels; None: it has none."""
    used = _used(view)
    if used is None:
        return None
    labels = {
        "the most probable class": predictions.probabilities.argmax(axis=1),
        f"{words.label(view.labels[POSITIVE])} from {used:.3f} on": thresholds.labels_at(
            predictions.probabilities, POSITIVE, used
        ),
    }
    metrics = ("accuracy", "f1", "precision", "recall")
    rows = []
    for name, predicted in labels.items():
        measured = thresholds.decision_metrics(predictions.labels, predicted, POSITIVE)
        rows.append([name, *(words.number(measured[metric]) for metric in metrics)])
    return Table(f"With the run's threshold, on {view.split}", ["predicted", *("accuracy", "F1", *metrics[2:])], rows)


def _used(view: RunView) -> float | None:
    """The run's threshold for the positive class; None: it has none that can be read."""
    try:
        noted = read_threshold(view.run.card, CARD, view.labels)
    except CheckpointError:
        return None
    if noted is None:
        return None
    return noted.value if noted.label == view.labels[POSITIVE] else 1 - noted.value
