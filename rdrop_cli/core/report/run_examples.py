"""Single examples: results by length, and the mistakes that a run is surest of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli import wording
from rdrop_cli.core.metrics.example_intervals import wilson
from rdrop_cli.core.report import drawing, words
from rdrop_cli.core.report.parts import Example, Examples, Facts, Notes, Picture, Section, SideBySide, Table
from rdrop_cli.core.runs import layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.report.view import RunView

MOST_ERRORS = 10
LONGEST = 600
"""Characters of a text that are shown."""
_GROUPS = 5
MOVED = "the prepared data is no longer where the run found it"


def by_length(view: RunView) -> Section:
    """The section about long and short texts."""
    title = "Short and long texts"
    why = _without_texts(view)
    lengths = None if why else view.run.lengths(view.split)
    if why or lengths is None:
        return Section("lengths", title, missing=[f"Left out: {why or 'the tokenizer of the run cannot be read'}."])
    predictions = view.models(view.split)[0].raw
    is_right = predictions.probabilities.argmax(axis=1) == predictions.labels
    limit = view.run.max_length or int(lengths.max())
    groups = [rows for rows in _in_groups(lengths) if len(rows)]
    parts: list[Picture | Table | Facts] = [
        _picture(lengths, is_right, groups, view.split),
        _truncated(lengths, is_right, limit, view.split),
    ]
    lead = f"Tokens are those of the model's tokenizer before truncation; the model reads the first {limit} at most."
    return Section("lengths", title, [SideBySide(parts)], lead)


def _in_groups(lengths: NDArray[Any]) -> list[NDArray[Any]]:
    """Rows in about equally large groups of similar length; equal lengths stay together.

    Args:
        lengths: (examples,) tokens.
    """
    edges = np.unique(np.percentile(lengths, np.linspace(0, 100, _GROUPS + 1)).astype(int))
    if len(edges) < 3:
        return [np.arange(len(lengths))]
    place = np.clip(np.searchsorted(edges, lengths, side="left"), 1, len(edges) - 1)
    return [np.flatnonzero(place == group) for group in range(1, len(edges))]


def _picture(lengths: NDArray[Any], is_right: NDArray[Any], groups: list[NDArray[Any]], split: str) -> Picture:
    rows, names, shares, bounds = [], [], [], []
    for group in groups:
        own, right = lengths[group], int(is_right[group].sum())
        low, high = wilson(right, len(group))
        name = f"{own.min()}–{own.max()}" if own.min() < own.max() else f"{own.min()}"
        names.append(name)
        shares.append(right / len(group))
        bounds.append((low, high))
        between = f"{100 * low:.1f} to {100 * high:.1f} %"
        rows.append([name, f"{len(group):,}", f"{right:,}", words.percent(right / len(group)), between])
    with drawing.sheet("lengths-accuracy", title="share labelled correctly", below="tokens") as sheet:
        places = list(range(len(groups)))
        error = np.array([[share - low, high - share] for share, (low, high) in zip(shares, bounds, strict=True)]).T
        look = {key: value for key, value in drawing.style(0).items() if key != "linestyle"}
        sheet.axes.errorbar(
            places, shares, yerr=np.maximum(error, 0), linestyle="none", elinewidth=1.6, capsize=4, **look
        )
        sheet.axes.axhline(float(is_right.mean()), color=drawing.MUTED, linewidth=1, linestyle=(0, (2, 3)))
        sheet.axes.set_xticks(places, names)
        sheet.axes.set_xlim(-0.5, len(places) - 0.5)
        sheet.axes.grid(axis="x", visible=False)
        drawing.percent(sheet.axes.yaxis)
    description = ", ".join(f"{name} tokens {share:.1%}" for name, share in zip(names, shares, strict=True))
    table = Table(f"Examples of {split} by length", ["tokens", "examples", "right", "accuracy", "95 %"], rows)
    note = "Bars are 95 % intervals; the dotted line is the accuracy of all."
    return Picture("lengths-accuracy", "Accuracy by length", sheet.svg, f"Points: {description}.", table, note)


def _truncated(lengths: NDArray[Any], is_right: NDArray[Any], limit: int, split: str) -> Table:
    rows = []
    for name, of in (("read whole", lengths <= limit), ("truncated", lengths > limit)):
        total, right = int(of.sum()), int(is_right[of].sum())
        low, high = wilson(right, total)
        share = words.percent(right / total) if total else "–"
        rows.append([name, f"{total:,}", share, f"{100 * low:.1f} to {100 * high:.1f} %" if total else "–"])
    return Table(f"Examples of {split} by whether they are truncated", ["", "examples", "accuracy", "95 %"], rows)


def errors(view: RunView) -> Section:
    """The section with the mistakes that the run is surest of."""
    title = "Most confident errors"
    if why := _without_texts(view):
        return Section("errors", title, missing=[f"Left out: {why}."])
    assert view.run.data is not None
    model = view.models(view.split)[0]
    split = view.run.data.splits[view.split]
    predicted, confidence = model.raw.probabilities.argmax(axis=1), model.best.probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != model.raw.labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_ERRORS]
    if not len(surest):
        return Section("errors", title, [Notes([f"None: every example of {view.split} is labelled correctly."])])
    lengths = view.run.lengths(view.split)
    shown = []
    for row in surest.tolist():
        texts = [split.texts[row]] + ([split.pairs[row]] if split.pairs is not None else [])
        remarks = [f"{view.split} example {row + 1:,}"]
        if lengths is not None:
            is_cut = view.run.max_length is not None and lengths[row] > view.run.max_length
            remarks.append(f"{wording.count(int(lengths[row]), 'token')}{', truncated' if is_cut else ''}")
        shown.append(
            Example(
                [_cut(text) for text in texts],
                view.labels[int(model.raw.labels[row])],
                view.labels[int(predicted[row])],
                words.percent(float(confidence[row])),
                remarks,
            )
        )
    which = "calibrated" if model.is_calibrated else "raw"
    lead = (
        f"{wording.count(len(wrong), 'example')} of {view.split} labelled wrongly; these are the ones with the highest"
        f" {which} confidence. Some may be labelled wrongly in the data."
    )
    return Section("errors", title, [Examples(shown)], lead)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _without_texts(view: RunView) -> str | None:
    """Why there are no examples with their predictions; None: there are."""
    if not (models := view.models(view.split)):
        return view.run.no(layout.PREDICTIONS["test"])
    if view.run.data is None:
        return MOVED
    split = view.run.data.splits.get(view.split)
    if split is None or not np.array_equal(split.labels, models[0].raw.labels):
        return "the predictions are not of the prepared data's examples"
    return None
