"""How far a run's probabilities can be trusted: reliability before and after the temperature, and confidences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rdrop_cli.core.metrics.calibration import calibration_error, reliability
from rdrop_cli.core.metrics.example_intervals import error_by_chance, wilson
from rdrop_cli.core.report import drawing, words
from rdrop_cli.core.report.parts import Facts, Picture, Section, SideBySide, Table
from rdrop_cli.core.report.view import of
from rdrop_cli.core.runs import layout

if TYPE_CHECKING:
    from rdrop_cli.core.metrics.predictions import Predictions
    from rdrop_cli.core.report.view import Model, RunView

BINS = 10
"""Of the picture: its points are then of enough examples each."""
_COLUMNS = 20


def calibration(view: RunView) -> Section:
    """The section about probabilities."""
    models, run = view.models(view.split), view.run
    if not models:
        return Section("calibration", "Calibration", missing=[f"Left out: {run.no(layout.PREDICTIONS['test'])}."])
    series: list[tuple[str, Predictions]] = []
    for each in models:
        if not each.is_calibrated:
            series.append((of(each.name, "raw"), each.raw))
        elif view.other is None:
            series += [("raw", each.raw), ("calibrated", each.best)]
        else:
            series.append((of(each.name, "calibrated"), each.best))
    missing = []
    if run.calibration is None:
        missing.append(f"Raw only, as no temperature can be fitted: {run.no(layout.PREDICTIONS['validation'])}.")
    elif run.calibration.reason:
        missing.append(f"No temperature was fitted: {run.calibration.reason}.")
    lead = (
        "Of the examples with a confidence of 80 %, 80 % should be labelled correctly. The temperature, fitted on"
        " validation, makes a model more or less sure of itself, and changes no label."
    )
    best = models[0].best
    pictures = SideBySide([_reliability(series, view.split), _confidences(best, models[0], view.split)])
    return Section("calibration", "Calibration", [Facts(_facts(view, series)), pictures], lead, missing)


def _facts(view: RunView, series: Sequence[tuple[str, Predictions]]) -> list[tuple[str, str]]:
    rows = []
    fitted = view.run.calibration
    if fitted is not None:
        direction = "too sure" if fitted.temperature > 1 else "not sure enough"
        was = f"; raw, the model is {direction}" if abs(fitted.temperature - 1) > 0.02 else ""
        rows.append(
            ("Temperature of A" if view.other else "Temperature", f"{fitted.temperature:.3f}, {fitted.origin}{was}")
        )
    errors = [f"{name} {calibration_error(each.labels, each.probabilities):.4f}" for name, each in series]
    rows.append(("Calibration error", "; ".join(errors)))
    chance = error_by_chance(series[-1][1])
    if chance is not None and view.other is None:
        rows.append(("By chance", f"a perfectly calibrated model would show up to {chance:.4f} on these examples"))
    return rows


def _reliability(series: Sequence[tuple[str, Predictions]], split: str) -> Picture:
    rows = []
    lowest = 1.0
    with drawing.sheet("reliability", title="share labelled correctly", below="confidence", height=300) as sheet:
        for index, (name, each) in enumerate(series):
            bins = reliability(each.labels, each.probabilities, BINS)
            x, y = [group.confidence for group in bins], [group.accuracy for group in bins]
            bounds = [wilson(round(group.accuracy * group.examples), group.examples) for group in bins]
            if index == len(series) - 1:
                error = [
                    [max(0, b - low) for b, (low, _) in zip(y, bounds, strict=True)],
                    [max(0, high - b) for b, (_, high) in zip(y, bounds, strict=True)],
                ]
                sheet.axes.errorbar(
                    x, y, yerr=error, fmt="none", ecolor=drawing.SERIES[index], alpha=0.45, linewidth=1.2
                )
            sheet.axes.plot(x, y, label=drawing.legend_name(name), **drawing.style(index))
            lowest = min(lowest, *x, *y)
            rows += [
                [
                    name,
                    f"{group.examples:,}",
                    *(words.percent(value) for value in (group.confidence, group.accuracy)),
                    words.percent(group.accuracy - group.confidence).replace("-", "−"),
                ]
                for group in bins
            ]
        start = max(0.0, np.floor(10 * lowest - 0.3) / 10)
        sheet.axes.plot([start, 1], [start, 1], color=drawing.MUTED, linewidth=1, linestyle=(0, (2, 3)))
        sheet.axes.set(xlim=(start, 1.01), ylim=(start, 1.02))
        sheet.legend(1 if max(len(name) for name, _ in series) > 20 else 2)
    table = Table(
        f"Examples of {split} in groups of similar confidence",
        ["", "examples", "confidence", "correct", "difference"],
        rows,
    )
    text = "The share labelled correctly over the confidence, in ten groups; on the diagonal both are equal."
    note = (
        "On the dotted diagonal, confidence and accuracy agree; below it, the model is too sure. Bars: 95 % intervals."
    )
    return Picture("reliability", "Reliability", sheet.svg, text, table, note)


def _confidences(predictions: Predictions, model: Model, split: str) -> Picture:
    confidence = predictions.probabilities.max(axis=1)
    is_right = predictions.probabilities.argmax(axis=1) == predictions.labels
    start = float(np.floor(20 / predictions.probabilities.shape[1]) / 20)
    edges = np.linspace(start, 1, min(_COLUMNS, max(2, round((1 - start) * 20))) + 1)
    right, wrong = (np.histogram(confidence[rows], edges)[0] for rows in (is_right, ~is_right))
    middle, width = (edges[:-1] + edges[1:]) / 2, 0.86 * (edges[1] - edges[0])
    with drawing.sheet("confidences", title="examples", below="confidence", height=300) as sheet:
        sheet.axes.bar(middle, right, width, color=drawing.SERIES[0], alpha=0.55, label="right")
        sheet.axes.bar(
            middle,
            wrong,
            width,
            bottom=right,
            color=drawing.SERIES[1],
            label="wrong",
            hatch="////",
            edgecolor=drawing.PAPER,
            linewidth=0,
        )
        sheet.axes.grid(axis="x", visible=False)
        sheet.legend(2)
    rows = [
        [f"{low:.2f} to {high:.2f}", f"{int(a + b):,}", f"{int(a):,}", f"{int(b):,}"]
        for low, high, a, b in zip(edges[:-1], edges[1:], right, wrong, strict=True)
        if a + b
    ]
    which = "calibrated" if model.is_calibrated else "raw"
    table = Table(
        f"Confidences ({which}) of the examples of {split}", ["confidence", "examples", "right", "wrong"], rows
    )
    text = f"Columns of examples by confidence; the median is {np.median(confidence):.2f}."
    return Picture(
        "confidences",
        f"Confidences{f' of {model.name}' if model.name else ''}, {which}",
        sheet.svg,
        text,
        table,
        "Wrong labels stand hatched on top of right ones.",
    )
