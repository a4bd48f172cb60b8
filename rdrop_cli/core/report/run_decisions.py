"""What could be done with a run's probabilities: leave the unsure examples to people, or move the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.metrics.calibration import aurc, risk_coverage
from rdrop_cli.core.report import drawing, words
from rdrop_cli.core.report.parts import Facts, Picture, Section, SideBySide, Table
from rdrop_cli.core.report.run_documents import POSITIVE
from rdrop_cli.core.runs import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rdrop_cli.core.report.view import Model, RunView

_POINTS = 240
_COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.1)
_THRESHOLDS = np.linspace(0.01, 0.99, 99)


def decisions(view: RunView) -> Section:
    """The section about abstaining and thresholds."""
    pictures: list[Picture] = []
    missing = []
    models = view.models(view.split)
    if models:
        pictures.append(_risk(models, view.split))
    else:
        missing.append(f"No risk against coverage: {view.run.no(layout.PREDICTIONS['test'])}.")
    if len(view.labels) == 2:
        on_validation = view.models("validation")
        if on_validation:
            pictures.append(_thresholds(view, on_validation[0]))
        else:
            missing.append(f"No thresholds: {view.run.no(layout.PREDICTIONS['validation'])}.")
    lead = "Labels can be withheld where the model is unsure, for people to look at."
    if len(view.labels) == 2:
        lead += " A threshold other than 0.5 makes one class easier to predict, and the other harder."
    parts: list[Picture | Table | Facts] = [*pictures, *(each.table for each in pictures if len(pictures) == 1)]
    blocks = [SideBySide(parts)] if parts else []
    return Section("decisions", "Abstaining and thresholds", blocks, lead if blocks else "", missing)


def _risk(models: Sequence[Model], split: str) -> Picture:
    columns, said = [], []
    with drawing.sheet("risk", title="share of errors", below="coverage: share of examples that get a label") as sheet:
        for index, each in enumerate(models):
            found = each.best
            coverage, risk = risk_coverage(found.labels, found.probabilities)
            first = max(0, min(len(risk) - 1, len(risk) // 50))  # the few most confident ones say little
            kept = np.unique(np.linspace(first, len(risk) - 1, min(len(risk) - first, _POINTS)).astype(int))
            sheet.axes.plot(
                coverage[kept],
                risk[kept],
                label=each.name or None,
                markevery=drawing.apart(index),
                **drawing.style(index),
            )
            confidence = np.sort(found.probabilities.max(axis=1))[::-1]
            columns.append([_at(share, risk, confidence) for share in _COVERAGES])
            area = aurc(found.labels, found.probabilities)
            who = f"{each.name}: " if each.name else ""
            said.append(f"{who}{risk[-1]:.1%} of all, {_risk_at(risk, 0.5):.1%} of the surest half, area {area:.4f}")
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
    text = f"The share of errors over the share of examples that get a label: {'; '.join(said)}."
    note = "Further left, fewer examples get a label: only those that the model is surest of."
    return Picture("risk", "Risk against coverage", sheet.svg, text, table, note)


def _at(share: float, risk: NDArray[Any], confidence: NDArray[Any]) -> tuple[str, str]:
    last = max(1, round(share * len(risk))) - 1
    return words.number(float(confidence[last]), 3), words.percent(float(risk[last]))


def _risk_at(risk: NDArray[Any], share: float) -> float:
    return float(risk[max(1, round(share * len(risk))) - 1])


def _thresholds(view: RunView, model: Model) -> Picture:
    truth, scores = model.best.labels == POSITIVE, model.best.probabilities[:, POSITIVE]
    curves = {"precision": [], "recall": [], "F1": []}  # type: dict[str, list[float]]
    for threshold in _THRESHOLDS:
        called = scores >= threshold
        hits, of_class, given = int((called & truth).sum()), int(truth.sum()), int(called.sum())
        curves["precision"].append(hits / given if given else np.nan)
        curves["recall"].append(hits / of_class if of_class else np.nan)
        curves["F1"].append(2 * hits / (given + of_class) if given + of_class else np.nan)
    f1 = np.array(curves["F1"])
    best = float(_THRESHOLDS[np.nanargmax(f1)]) if np.isfinite(f1).any() else 0.5
    chosen = _chosen(view)
    below = f"threshold on the probability of {words.label(view.labels[POSITIVE], 16)}"
    with drawing.sheet("thresholds", title="on validation", below=below) as sheet:
        for index, (name, values) in enumerate(curves.items()):
            drawn = np.isfinite(values)
            if drawn.any():
                look = {"markevery": drawing.apart(index), **drawing.style(index)}
                sheet.axes.plot(_THRESHOLDS[drawn], np.array(values)[drawn], label=name, **look)
        at = chosen if chosen is not None else best
        sheet.axes.axvline(at, color=drawing.INK, linewidth=1, linestyle=(0, (2, 2)))
        sheet.axes.set(xlim=(0, 1), ylim=(0, 1.03))
        sheet.legend(3)
    marked = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, best, *([chosen] if chosen is not None else [])]
    rows = [
        [f"{at:.2f}", *(words.number(None if np.isnan(value) else value, 3) for value in _row(curves, at))]
        for at in sorted({round(value, 2) for value in marked})
    ]
    table = Table("Thresholds on validation", ["threshold", *curves], rows)
    which = "calibrated" if model.is_calibrated else "raw"
    line = (
        f"The line is the run's threshold, {chosen:.2f}"
        if chosen is not None
        else f"The line is where F1 is highest, {best:.2f}"
    )
    note = f"{line}; probabilities are {which}. A threshold is chosen on validation, never on test."
    text = f"Precision, recall and F1 over the threshold; F1 is highest at {best:.2f}."
    return Picture("thresholds", "Thresholds", sheet.svg, text, table, note)


def _row(curves: dict[str, list[float]], at: float) -> list[float]:
    index = int(np.abs(_THRESHOLDS - at).argmin())
    return [values[index] for values in curves.values()]


def _chosen(view: RunView) -> float | None:
    noted = view.run.card.get("threshold")
    value = noted.get("value") if isinstance(noted, dict) else None
    return float(value) if isinstance(value, float | int) and 0 <= value <= 1 else None
