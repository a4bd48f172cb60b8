"""A run at a glance: its main metrics with intervals, and what was trained on what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdrop_cli import wording
from rdrop_cli.core.metrics import formatting
from rdrop_cli.core.metrics.bootstrap import interval, number_of_resamples, p_value, resample_means
from rdrop_cli.core.metrics.calibration import brier_score, calibrated_metrics, calibration_error
from rdrop_cli.core.metrics.classification import LOWER_IS_BETTER, TITLES, average_of
from rdrop_cli.core.metrics.head_to_head import CheckpointDifference
from rdrop_cli.core.metrics.losses import brier_per_example, nll_per_example
from rdrop_cli.core.report import words
from rdrop_cli.core.report.parts import Facts, Notes, Section, SideBySide, Table, Tile, Tiles
from rdrop_cli.core.report.run_documents import SPLITS
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.method import describe_method

if TYPE_CHECKING:
    from rdrop_cli.core.metrics.head_to_head import HeadToHead
    from rdrop_cli.core.report.parts import Block
    from rdrop_cli.core.report.run_documents import RunDocuments
    from rdrop_cli.core.report.view import RunView

LARGE = ("accuracy", "f1", "roc_auc", "nll", "brier", "ece")
_OTHERS = ("precision", "recall", "mcc")
_CALIBRATED = frozenset({"nll", "brier", "ece"})
"""Metrics that a temperature changes."""


def at_a_glance(view: RunView) -> Section:
    """The section with the figures that matter most."""
    run, split = view.run, view.split
    values = {name: measured(run, name) for name in SPLITS if name in run.metrics}
    own = values[split]
    tiles = [
        Tile(title_of(name), words.number(own.get(name), 3), _detail(view, name))
        for name in LARGE
        if own.get(name) is not None
    ]
    blocks: list[Block] = [Tiles(tiles), SideBySide([_table(view, values), Facts(_facts(run))], is_roomy=True)]
    missing = [] if view.intervals else [f"No intervals: {run.no(layout.PREDICTIONS['test'])}."]
    undefined = own.get("undefined") or {}
    missing += [f"{title_of(name)} is undefined: {reason}." for name, reason in undefined.items() if name in TITLES]
    lead = (
        f"On {wording.count(own.get('examples') or 0, f'{split} example')}. F1, precision and recall:"
        f" {_average(view.labels)}. The best epoch was chosen on validation; test was measured once, at the end."
        f"{' The small figures are 95 % intervals.' if view.intervals else ''}"
    )
    return Section("at-a-glance", "At a glance", blocks, lead, missing)


def against(view: RunView, compared: HeadToHead, caution: str | None) -> Section:
    """The section that puts the other run beside this one."""
    assert view.other is not None
    gaps = {**_mean_differences(view.run, view.other), **compared.gaps}
    rows = []
    for name, title, own, other in _both(view, compared):
        gap = gaps.get(name)
        difference = None if own is None or other is None else own - other
        between = words.signed_interval(gap.interval.low, gap.interval.high) if gap else "–"
        p = formatting.p(gap.p_value) if gap and not caution else "–"
        rows.append([title, words.number(own), words.number(other), words.signed(difference), between, p])
    table = Table("Both runs on the same test examples", ["", "A", "B", "A − B", "95 %", "p"], rows)
    test = compared.mcnemar
    notes = [
        f"Only A is right on {wording.count(test.only_first, 'example')}, only B on {test.only_second:,}. p: McNemar's"
        " exact test for accuracy, paired bootstrap for the others; not corrected for their number.",
        "This compares two checkpoints. To compare two ways of training takes several seeds: rdrop compare.",
        "What follows is about A, unless it names both.",
    ]
    blocks: list[Block] = [Facts([("A", view.run.name), ("B", view.other.name)]), table, Notes(notes)]
    if caution:
        blocks.append(Notes([caution], "caution"))
    return Section("against", "A against B", blocks)


def _mean_differences(first: RunDocuments, second: RunDocuments) -> dict[str, CheckpointDifference]:
    """The paired bootstrap of those metrics that are means over examples, raw and calibrated, by metric."""
    a, b = first.predictions["test"], second.predictions["test"]
    pairs = {"brier": (brier_per_example(a.labels, a.probabilities), brier_per_example(b.labels, b.probabilities))}
    own, other = first.calibrated("test"), second.calibrated("test")
    if own is not None and other is not None:
        pairs["brier_calibrated"] = brier_per_example(a.labels, own), brier_per_example(b.labels, other)
        pairs["nll_calibrated"] = nll_per_example(a.labels, own), nll_per_example(b.labels, other)
    gaps = {}
    for name, (of_first, of_second) in pairs.items():
        drawn = resample_means((of_first - of_second)[None], resamples=number_of_resamples([a, b]))[0]
        gaps[name] = CheckpointDifference(float((of_first - of_second).mean()), interval(drawn), p_value(drawn))
    return gaps


def _both(view: RunView, compared: HeadToHead) -> Iterator[tuple[str, str, float | None, float | None]]:
    """Each metric of both runs: name, title, values."""
    assert view.other is not None
    own, other = (
        {**measured(run, "test"), **each} for run, each in zip((view.run, view.other), compared.metrics, strict=True)
    )
    for name in LARGE:
        yield name, title_of(name), own.get(name), other.get(name)
        after = f"{name}_calibrated"
        if own.get(after) is not None and other.get(after) is not None:
            yield after, f"{title_of(name)}, calibrated", own[after], other[after]


def title_of(name: str) -> str:
    """A metric's name at the beginning of a line."""
    return TITLES[name][0].upper() + TITLES[name][1:]


def measured(run: RunDocuments, split: str) -> dict[str, Any]:
    """A split's metrics; those that a run of an earlier version did not record are computed from its predictions."""
    known: dict[str, Any] = dict(run.metrics[split])
    predictions = run.predictions.get(split)
    if predictions is None:
        return known
    if known.get("brier") is None:
        known["brier"] = brier_score(predictions.labels, predictions.probabilities)
    if known.get("ece") is None:
        known["ece"] = calibration_error(predictions.labels, predictions.probabilities)
    if known.get("nll_calibrated") is None and run.calibration is not None:
        known |= calibrated_metrics(predictions.labels, predictions.probabilities, run.calibration.temperature)
    return known


def _detail(view: RunView, name: str) -> str:
    bounds = view.intervals.get(name)
    if bounds is None or bounds.low is None:
        return "lower is better" if name in LOWER_IS_BETTER else ""
    return words.interval(bounds.low, bounds.high, 3)


def _table(view: RunView, values: Mapping[str, Mapping[str, Any]]) -> Table:
    order = [view.split, *(name for name in ("validation", "train") if name in values and name != view.split)]
    columns = ["", order[0], "95 % interval", *order[1:]]
    rows = []
    for name in (*LARGE, *_OTHERS):
        if any(values[split].get(name) is not None for split in order):
            bounds = view.intervals.get(name)
            between = words.interval(bounds.low, bounds.high) if bounds else "–"
            rows.append(_cells(title_of(name), name, between, order, values))
        after = f"{name}_calibrated"
        if name in _CALIBRATED and any(values[split].get(after) is not None for split in order):
            rows.append(_cells(f"{title_of(name)}, calibrated", after, "–", order, values))
    return Table("Higher is better, but lower for NLL, Brier and ECE", columns, rows)


def _cells(
    title: str, name: str, between: str, order: Sequence[str], values: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    first, *others = (words.number(values[split].get(name)) for split in order)
    return [title, first, between, *others]


def _facts(run: RunDocuments) -> list[tuple[str, str]]:
    config, cost = run.config, run.cost
    splits = run.record.get("splits") or {}
    rows = []
    if config:
        revision = f", revision {config.model.revision}" if config.model.revision else ""
        rows.append(("Model", f"{config.model.name}{revision}, inputs of at most {config.model.max_length} tokens"))
    source = config.data.source if config else (run.record.get("source") or {}).get("name")
    if source:
        sizes = ", ".join(f"{name} {size:,}" for name, size in splits.items())
        rows.append(("Data", f"{source}{f' ({sizes})' if sizes else ''}"))
    if config:
        rows.append(("Loss", _loss(config)))
        rows.append(("Seed", str(config.train.seed)))
    if cost.get("steps"):
        epoch = cost.get("best_epoch")
        best = f"; the checkpoint is from epoch {epoch:g}" if epoch is not None else ""
        rows.append(("Training", f"{cost['steps']:,} steps in {wording.duration(cost.get('seconds'))}{best}"))
    if cost.get("device"):
        rows.append(("Device", f"{cost['device']}{f', {config.train.precision}' if config else ''}"))
    rows.append(("Checkpoint", str(run.folder / layout.BEST)))
    return rows


def _loss(config: Any) -> str:
    smoothing = f", label smoothing {config.train.label_smoothing:g}" if config.train.label_smoothing else ""
    return f"{describe_method(config)}{smoothing}"


def _average(labels: tuple[str, ...]) -> str:
    return average_of([words.label(name, 60) for name in labels]) if len(labels) > 1 else "of the positive class"
