"""Write a sweep's results: trials as CSV, everything as JSON, the winner as a recipe, and a picture."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.config import dump_config
from rdrop_cli.core.comparison.plot import can_plot
from rdrop_cli.core.metrics.classification import TITLES
from rdrop_cli.core.storage.files import write_text, writing
from rdrop_cli.core.sweep.plan import RDROP
from rdrop_cli.core.sweep.space import SHORT, Choices

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rdrop_cli.core.sweep.runner import SearchResult, SweepResult
    from rdrop_cli.core.sweep.space import Dimension
    from rdrop_cli.core.sweep.trials import Trial

RESULTS, TABLE, PICTURE = "results.json", "sweep.csv", "sweep.png"
_LOOKS = (("#0072b2", "o"), ("#d55e00", "s"))
"""Colour and shape of each search's trials."""
_LONG_NAMES = {key: name for name, key in SHORT.items()}


def short_name(key: str) -> str:
    """The name of a dimension for display."""
    return _LONG_NAMES.get(key, key)


def ranked(result: SearchResult, *, maximizes: bool) -> list[tuple[Trial, list[float]]]:
    """The trials, the best first; then those that were given up, then those that failed."""
    order = {"complete": 0, "pruned": 1, "running": 2, "failed": 3}
    sign = -1 if maximizes else 1
    return sorted(
        result.trials, key=lambda each: (order[each[0].state], sign * mean(each[1]) if each[1] else 0.0, each[0].number)
    )


def mean(scores: Sequence[float]) -> float:
    """The mean score of a trial; nan without any."""
    return statistics.fmean(scores) if scores else math.nan


def spread(scores: Sequence[float]) -> float | None:
    """The standard deviation over seeds; None of fewer than two."""
    return statistics.stdev(scores) if len(scores) > 1 else None


def as_document(result: SweepResult) -> dict[str, Any]:
    """What `rdrop sweep --json` prints and results.json contains."""
    plan = result.plan
    return {
        "sweep": str(plan.folder),
        "metric": plan.metric,
        "seeds": list(plan.seeds),
        "selected_on": "validation",
        "searches": {each.search.name: _search(each) for each in result.searches},
        "confirm": result.comparison.document if result.comparison else None,
    }


def write_results(result: SweepResult) -> list[Path]:
    """Write all files; the picture only where matplotlib is installed.

    Raises:
        StorageError: a file cannot be written.
    """
    folder = result.plan.folder
    files = [_write_table(result), folder / RESULTS]
    write_text(files[-1], json.dumps(as_document(result), indent=2) + "\n")
    for each in result.searches:
        if each.config is not None:
            files.append(recipe_path(folder, each))
            write_text(files[-1], dump_config(each.config))
    if can_plot():
        files.append(folder / PICTURE)
        _draw(result, files[-1])
    return files


def recipe_path(folder: Path, result: SearchResult) -> Path:
    """Where the winner's configuration is written."""
    return folder / ("best.yaml" if result.search.name == RDROP else f"best-{result.search.name}.yaml")


def _search(result: SearchResult) -> dict[str, Any]:
    return {
        "space": {key: str(dimension) for key, dimension in result.search.space.items()},
        "best": result.best.number if result.best else None,
        "seconds": result.seconds,
        "trials": [
            {
                "number": trial.number,
                "state": trial.state,
                "values": dict(trial.values),
                "scores": scores,
                "mean": mean(scores) if scores else None,
                "sd": spread(scores),
                "reason": trial.reason,
            }
            for trial, scores in result.trials
        ],
    }


def _write_table(result: SweepResult) -> Path:
    path = result.plan.folder / TABLE
    keys = list(dict.fromkeys(key for each in result.searches for key in each.search.space))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    seeds = [f"validation_{result.plan.metric}_seed{seed}" for seed in result.plan.seeds]
    writer.writerow(["search", "trial", "state", *keys, f"validation_{result.plan.metric}", *seeds])
    for each in result.searches:
        for trial, scores in each.trials:
            padded = [*scores, *[""] * (len(seeds) - len(scores))]
            values = [trial.values.get(key, "") for key in keys]
            average = mean(scores) if scores else ""
            writer.writerow([each.search.name, trial.number, trial.state, *values, average, *padded])
    write_text(path, buffer.getvalue())
    return path


def _draw(result: SweepResult, path: Path) -> None:
    """One panel for each dimension: a trial's mean score over its value; the winner has a ring around it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    keys = list(dict.fromkeys(key for each in result.searches for key in each.search.space))
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    figure = Figure(figsize=(3.9 * columns, 3.1 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(rows, columns, index + 1) for index in range(len(keys))]
    for index, (axes, key) in enumerate(zip(panels, keys, strict=True)):
        _scale(axes, next(each.search.space[key] for each in result.searches if key in each.search.space))
        for each, look in zip(reversed(result.searches), _LOOKS, strict=False):
            if key in each.search.space:
                _scatter(axes, key, each, *look)
        axes.set_xlabel(short_name(key))
        if index % columns == 0:
            axes.set_ylabel(f"validation {TITLES.get(result.plan.metric, result.plan.metric)}")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False)
    with writing(path) as staging:
        figure.savefig(staging, format="png", dpi=130)


def _scatter(axes: Axes, key: str, result: SearchResult, colour: str, marker: str) -> None:
    dimension = result.search.space[key]

    def place(trial: Trial) -> Any:
        value = trial.values[key]
        return dimension.values.index(value) if isinstance(dimension, Choices) else value

    for state, face, label in (("complete", colour, ""), ("pruned", "none", ", given up")):
        shown = [(place(trial), mean(scores)) for trial, scores in result.trials if trial.state == state and scores]
        if shown:
            x, y = zip(*shown, strict=True)
            name = f"{result.search.name}{label}"
            axes.scatter(x, y, s=26, marker=marker, facecolors=face, edgecolors=colour, label=name)
    if result.best is not None:
        score = mean(next(scores for trial, scores in result.trials if trial is result.best))
        axes.scatter([place(result.best)], [score], s=130, marker=marker, facecolors="none", edgecolors=colour)


def _scale(axes: Axes, dimension: Dimension) -> None:
    """Show the whole dimension, with ticks that can be read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if isinstance(dimension, Choices):
        axes.set_xlim(-0.5, len(dimension.values) - 0.5)
        axes.set_xticks(range(len(dimension.values)), [str(value) for value in dimension.values])
        return
    if dimension.log:
        axes.set_xscale("log")
        axes.set_xlim(dimension.low / 1.15, dimension.high * 1.15)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        margin = 0.04 * (dimension.high - dimension.low)
        axes.set_xlim(dimension.low - margin, dimension.high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=dimension.is_whole))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
