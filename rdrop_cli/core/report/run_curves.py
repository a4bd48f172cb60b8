"""Learning curves of a run: the loss and its two terms, and validation after each epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdrop_cli.core.metrics.classification import TITLES
from rdrop_cli.core.report import drawing, words
from rdrop_cli.core.report.parts import Picture, Section, SideBySide, Table
from rdrop_cli.core.runs import layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rdrop_cli.core.report.run_documents import RunDocuments
    from rdrop_cli.core.report.view import RunView

_POINTS = 400
_ROWS = 40
_EPOCHS = 12
_MARKED = 20
"""Points that can have a marker each."""
_SHOWN = ("accuracy", "f1", "roc_auc")


def learning_curves(view: RunView) -> Section:
    """The section about the course of the training."""
    run = view.run
    steps = [row for row in run.history if row.get("loss") is not None]
    epochs = [row for row in run.history if row.get("validation_nll") is not None]
    if not steps and not epochs:
        return Section("learning-curves", "Learning curves", missing=[f"Left out: {_why(run)}."])
    pictures = [_loss(_thinned(steps))] if steps else []
    if any(row.get("kl_share") is not None for row in steps):
        pictures += [_kl(_thinned(steps)), _share(_thinned(steps))]
    if epochs:
        pictures += [_validation(epochs), _validation_nll(epochs)]
    lead = "Training figures are means over the steps since the entry before; validation is measured after each epoch."
    table = [_epochs(epochs)] if epochs else []
    return Section("learning-curves", "Learning curves", [SideBySide([*pictures, *table])], lead)


def _epochs(rows: Sequence[Mapping[str, float | None]]) -> Table:
    """The last epochs, which stand beside the curves."""
    shown = {f"validation_{name}": TITLES[name] for name in (*_SHOWN, "nll")}
    caption = "Validation after each epoch" if len(rows) <= _EPOCHS else f"Validation after the last {_EPOCHS} epochs"
    return _table(caption, rows[-_EPOCHS:], shown, over="epoch")


def _why(run: RunDocuments) -> str:
    return run.no(layout.HISTORY) if layout.HISTORY in run.faults else f"{layout.HISTORY} has no entries"


def _loss(rows: Sequence[Mapping[str, float | None]]) -> Picture:
    names = {"loss": "loss", "ce": "cross-entropy (CE)"}
    shown = {key: name for key, name in names.items() if any(row.get(key) is not None for row in rows)}
    has_kl = any(row.get("kl") for row in rows)
    with drawing.sheet("loss", title="nats per example", below="step") as sheet:
        whole = [row for row in rows if row.get("loss") is not None and row.get("ce") is not None]
        if has_kl and whole:
            x, low, high = ([_value(row, key) for row in whole] for key in ("step", "ce", "loss"))
            sheet.axes.fill_between(x, low, high, color=drawing.SERIES[0], alpha=0.15, linewidth=0)
        for index, (key, name) in enumerate(shown.items()):
            _line(sheet, rows, key, index, name)
        sheet.axes.set_ylim(bottom=0)
        sheet.legend(2)
    description = "; ".join(f"{name} from {_ends(rows, key)}" for key, name in shown.items())
    table = _table("The loss in the course of the training", rows, shown)
    note = "What lies between the lines is the KL term: alpha times the KL divergence of the two passes."
    return Picture("loss", "Loss", sheet.svg, f"Lines over the steps: {description}.", table, note if has_kl else "")


def _kl(rows: Sequence[Mapping[str, float | None]]) -> Picture:
    shown = {"kl": "KL divergence"}
    with drawing.sheet("kl", title="nats per example", below="step") as sheet:
        _line(sheet, rows, "kl", 2, "KL divergence")
        sheet.axes.set_ylim(bottom=0)
    table = _table("The KL divergence of the two passes, before alpha", rows, shown)
    description = f"A line over the steps: KL from {_ends(rows, 'kl')}."
    note = "How far two passes with different dropout masks disagree, before alpha is multiplied."
    return Picture("kl", "KL divergence", sheet.svg, description, table, note)


def _share(rows: Sequence[Mapping[str, float | None]]) -> Picture:
    shown = {"kl_share": "KL's share of the loss", "agreement": "passes that agree"}
    with drawing.sheet("share", title="share", below="step") as sheet:
        for index, (key, name) in enumerate(shown.items()):
            _line(sheet, rows, key, index, name)
        sheet.axes.set_ylim(0, 1.02)
        drawing.percent(sheet.axes.yaxis)
        sheet.legend(2)
    description = "; ".join(f"{name} from {_ends(rows, key)}" for key, name in shown.items())
    table = _table("KL's share of the loss, and examples on which both passes give the same label", rows, shown)
    note = "How much of the loss is the KL term, and on how many examples both passes give the same label."
    return Picture("share", "Share of the KL term", sheet.svg, f"Lines over the steps: {description}.", table, note)


def _validation(rows: Sequence[Mapping[str, float | None]]) -> Picture:
    shown = {f"validation_{name}": TITLES[name] for name in _SHOWN}
    with drawing.sheet("validation", title="validation", below="epoch") as sheet:
        for index, (key, name) in enumerate(shown.items()):
            _line(sheet, rows, key, index, name, over="epoch")
        sheet.axes.locator_params(axis="x", integer=True)
        sheet.legend(3)
    description = "; ".join(f"{name} from {_ends(rows, key)}" for key, name in shown.items())
    table = _table("Validation after each epoch", rows, shown, over="epoch")
    return Picture("validation", "Validation", sheet.svg, f"Lines over the epochs: {description}.", table)


def _validation_nll(rows: Sequence[Mapping[str, float | None]]) -> Picture:
    shown = {"validation_nll": "NLL"}
    with drawing.sheet("validation-nll", title="nats per example", below="epoch") as sheet:
        _line(sheet, rows, "validation_nll", 3, "NLL", over="epoch")
        sheet.axes.locator_params(axis="x", integer=True)
        sheet.axes.margins(y=0.25)
    description = f"A line over the epochs: NLL from {_ends(rows, 'validation_nll')}."
    note = "Where it rises while accuracy does not fall, the model becomes too sure of itself."
    table = _table("NLL on validation after each epoch", rows, shown, over="epoch")
    return Picture("validation-nll", "Validation NLL", sheet.svg, description, table, note)


def _line(
    sheet: drawing.Sheet,
    rows: Sequence[Mapping[str, float | None]],
    key: str,
    index: int,
    name: str,
    over: str = "step",
) -> None:
    points = [
        (_value(row, over), _value(row, key)) for row in rows if row.get(key) is not None and row.get(over) is not None
    ]
    look = drawing.style(index)
    if len(points) > _MARKED:
        look["markevery"] = drawing.apart(index)
    sheet.axes.plot([x for x, _ in points], [y for _, y in points], label=name, **look)


def _value(row: Mapping[str, float | None], key: str) -> float:
    value = row.get(key)
    return math.nan if value is None else value


def _ends(rows: Sequence[Mapping[str, float | None]], key: str) -> str:
    values = [value for row in rows if (value := row.get(key)) is not None]
    return f"{values[0]:.3f} to {values[-1]:.3f}" if values else "–"


def _table(
    caption: str, rows: Sequence[Mapping[str, float | None]], shown: Mapping[str, str], over: str = "step"
) -> Table:
    step = max(1, -(-len(rows) // _ROWS))
    kept = [row for index, row in enumerate(rows) if index % step == 0 or index == len(rows) - 1]
    body = [[_count(row.get(over)), *(words.number(row.get(key)) for key in shown)] for row in kept]
    return Table(caption, [over, *shown.values()], body)


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value == int(value) else f"{value:.2f}"


def _thinned(rows: Sequence[Mapping[str, float | None]]) -> Sequence[Mapping[str, float | None]]:
    step = max(1, -(-len(rows) // _POINTS))
    return [row for index, row in enumerate(rows) if index % step == 0 or index == len(rows) - 1]
