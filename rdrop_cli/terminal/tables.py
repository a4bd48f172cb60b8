"""Result tables: what was prepared, and how good a model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.metrics import formatting
from rdrop_cli.core.metrics.bootstrap import METRICS
from rdrop_cli.core.metrics.classification import HEADLINE, SCALARS, TITLES
from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.terminal.console import add_row, table

if TYPE_CHECKING:
    from rich.table import Table

    from rdrop_cli.core.metrics.bootstrap import Interval
    from rdrop_cli.core.metrics.head_to_head import HeadToHead
    from rdrop_cli.core.runs.calibration import Calibration


def metrics_table(splits: Mapping[str, Mapping[str, Any]], intervals: Mapping[str, Interval] | None = None) -> Table:
    """One row a split.

    Args:
        intervals: 95 % intervals of some metrics of the last split, for a row of their own.
    """
    shown = table("split", "examples", *(TITLES[name] for name in SCALARS))
    for split, metrics in splits.items():
        cells = [number(metrics[name]) for name in SCALARS]
        add_row(shown, split, f"{metrics['examples']:,}", *cells, style="bold" if split == "test" else None)
    if intervals is not None:
        for side in ("low", "high"):
            bounds = [number(getattr(intervals[name], side)) if name in intervals else "" for name in SCALARS]
            add_row(shown, f"95 % {side}", "", *bounds)
    return shown


PROBABILITIES = "Probabilities: how far they can be trusted"
"""The title of `probabilities_table`."""


def probabilities_table(splits: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a split for the raw probabilities, and one for those at the temperature, if there is one."""
    names = ("nll", "brier", "ece")
    shown = table("split", "probabilities", *(TITLES[name] for name in names), names=(0, 1))
    for split, metrics in splits.items():
        style = "bold" if split == "test" else None
        add_row(shown, split, "raw", *(number(metrics[name]) for name in names), style=style)
        if metrics.get("temperature") not in (None, 1.0):
            add_row(shown, "", "calibrated", *(number(metrics[f"{name}_calibrated"]) for name in names), style=style)
    return shown


def describe_temperature(calibration: Calibration) -> str:
    """The temperature of a model's probabilities, in one line."""
    if calibration.reason is not None:
        return f"Probabilities are not calibrated: {calibration.reason}"
    fitted = f", fitted on {calibration.examples:,} validation examples" if calibration.examples else ""
    where = "" if calibration.in_head else "; it is not in the weights, so only rdrop applies it"
    return f"Temperature {calibration.temperature:.3g}{fitted}{where}"


def gaps_table(compared: HeadToHead) -> Table:
    """One row a metric: two checkpoints' values, their difference, its interval and p-value."""
    shown = table("metric", "A", "B", "A - B", "95 % over examples", "p")
    for name, gap in compared.gaps.items():
        values = [number(metrics[name]) for metrics in compared.metrics]
        bounds = formatting.bounds((gap.interval.low, gap.interval.high))
        add_row(shown, TITLES[name], *values, formatting.change(gap.difference), bounds, formatting.p(gap.p_value))
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


def summary_table(arms: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row an arm: its metrics over the seeds, and the median time of a run's training."""
    shown = table("arm", *(TITLES[name] for name in METRICS), "time")
    for name, arm in arms.items():
        cells = [_spread(arm["metrics"][name]["mean"], arm["metrics"][name]["sd"]) for name in METRICS]
        add_row(shown, name, *cells, "–" if arm["seconds"] is None else f"{arm['seconds']:,.0f} s")
    return shown


_OF_PROBABILITIES = ("nll", "brier", "ece")


def calibration_table(arms: Mapping[str, Mapping[str, Any]]) -> Table:
    """Two rows an arm, over the seeds: raw, and after the temperatures of its runs."""
    shown = table("arm", "temperature", *(TITLES[name] for name in _OF_PROBABILITIES))
    for name, arm in arms.items():
        spreads = {key: _spread(value["mean"], value["sd"]) for key, value in arm["metrics"].items()}
        temperature = arm["metrics"]["temperature"]
        add_row(shown, name, "raw", *(spreads[key] for key in _OF_PROBABILITIES))
        after = (spreads[f"{key}_calibrated"] for key in _OF_PROBABILITIES)
        add_row(shown, "", _spread(temperature["mean"], temperature["sd"], 2), *after)
    return shown


def ensemble_table(ensembles: Mapping[str, Mapping[str, Any]]) -> Table:
    """Two rows an ensemble: raw, and after its temperature, which changes no label."""
    of_labels = [TITLES[name] for name in HEADLINE]
    shown = table("ensemble", *of_labels, "T", *(TITLES[name] for name in _OF_PROBABILITIES))
    for name, ensemble in ensembles.items():
        scores = (number(ensemble[key]) for key in HEADLINE)
        add_row(shown, name, *scores, "raw", *(number(ensemble[key]) for key in _OF_PROBABILITIES))
        after = (number(ensemble[f"{key}_calibrated"]) for key in _OF_PROBABILITIES)
        add_row(shown, "", *("" for _ in HEADLINE), number(ensemble["temperature"], 2), *after)
    return shown


def difference_table(differences: Sequence[Mapping[str, Any]]) -> Table:
    """One row for each metric of an arm; a calibrated one is below the raw one."""
    shown = table("metric", "change", "95 % over seeds", "95 % over examples", "p", "p Holm", "needed")
    for gap in differences:
        name = " calibrated" if gap["metric"].endswith("_calibrated") else TITLES[gap["metric"]]
        add_row(shown, name, *formatting.difference(gap), _seeds(gap))
    return shown


def _seeds(gap: Mapping[str, Any]) -> str:
    if not gap["difference"] or not gap["sd"]:
        return "–"
    return ">1,000" if gap["seeds_needed"] is None else f"{gap['seeds_needed']:,}"


def _spread(mean: float | None, sd: float | None, digits: int = 4) -> str:
    if mean is None or sd is None:
        return number(mean, digits)
    return f"{mean:.{digits}f} ±{sd:.{digits}f}".replace("±0.", "±.")
