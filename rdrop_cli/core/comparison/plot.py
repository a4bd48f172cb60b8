"""Plot a comparison: a point for each seed, a strip for each arm, and intervals. Needs matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.metrics.bootstrap import METRICS
from rdrop_cli.core.metrics.classification import LOWER_IS_BETTER, TITLES
from rdrop_cli.core.metrics.significance import paired_t
from rdrop_cli.core.storage.files import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from rdrop_cli.core.comparison.analysis import Evidence
    from rdrop_cli.core.comparison.differences import Difference
    from rdrop_cli.core.comparison.grid import CellOutcome

_UNITS = {
    "accuracy": "share of examples",
    "f1": "0 to 1",
    "roc_auc": "0 to 1",
    "nll": "nats per example",
    "nll_calibrated": "nats per example",
}
_SPREAD = 0.22
"""Half the height over which an arm's points may be spread, as a share of a strip."""
_CLOSE = 0.03
"""Points closer than this share of the axis are drawn side by side."""


def can_plot() -> bool:
    """True if matplotlib is installed and can be imported."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def draw_plot(evidence: Evidence, outcomes: Sequence[CellOutcome], data: str, path: Path) -> None:
    """Write the plot as PNG: the metrics of every run above, the paired differences to the first arm below.

    Args:
        data: The name of the data, for the title.

    Raises:
        StorageError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    arms = list(evidence.summaries)
    is_calibrated = all(outcome.validation is not None for outcome in outcomes)
    metrics = (*METRICS, "nll_calibrated") if is_calibrated else METRICS
    colours = {arm: f"C{index % 10}" for index, arm in enumerate(arms)}
    height = 2.6 + 0.52 * (2 * len(arms) - 1)
    figure = Figure(figsize=(3.75 * len(metrics), height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(metrics), height_ratios=[len(arms), max(1, len(arms) - 1)])
    for column, metric in enumerate(metrics):
        by_arm = {arm: _values(evidence, outcomes, arm, metric) for arm in arms}
        _strips(axes[0][column], by_arm, colours)
        better = "lower is better" if metric in LOWER_IS_BETTER else "higher is better"
        axes[0][column].set_title(f"test {TITLES[metric]} ({better})", fontsize=11)
        axes[0][column].set_xlabel(_UNITS[metric], fontsize=9)
        base = by_arm[evidence.baseline]
        gaps = {arm: by_arm[arm] - base for arm in arms[1:]}
        differences = {gap.arm: gap for gap in evidence.differences if gap.metric == metric}
        _differences(axes[1][column], gaps, differences, colours)
        axes[1][column].set_xlabel(f"difference to {_plain(evidence.baseline)}, {_UNITS[metric]}", fontsize=9)
        if column:
            for row in (0, 1):
                axes[row][column].tick_params(labelleft=False)
    count = len(outcomes[0].test.labels)
    figure.suptitle(
        _plain(
            f"{data}: {len(evidence.seeds)} paired seeds, {count:,} test examples. Points are seeds;"
            " bars are 95 % t intervals over seeds; pale bands in the lower row are 95 % intervals over test examples"
        ),
        fontsize=10,
    )
    with writing(path) as staging, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name may use characters that the font lacks
        figure.savefig(staging, format="png", dpi=120)


def _strips(axes: Axes, by_arm: dict[str, NDArray[Any]], colours: dict[str, str]) -> None:
    """A row for each arm: its (seeds,) values as points, and below them their mean and its 95 % t interval."""
    every = np.concatenate(list(by_arm.values()))
    width = np.nanmax(every) - np.nanmin(every) if np.isfinite(every).any() else 0.0
    for index, (arm, values) in enumerate(by_arm.items()):
        values = values[np.isfinite(values)]
        heights = index + 0.16 + _beside_each_other(values, width * _CLOSE)
        axes.plot(
            values,
            heights,
            "o",
            color=colours[arm],
            alpha=0.85,
            markersize=5.5,
            markeredgewidth=0.6,
            markeredgecolor="white",
        )
        if len(values) and (interval := _interval_of_mean(values)) is not None:
            low, mean, high = interval
            axes.errorbar(
                mean, index - 0.34, xerr=[[mean - low], [high - mean]],
                fmt="D", color=colours[arm], markersize=5, capsize=4, linewidth=1.8,
            )  # fmt: skip
    _rows(axes, list(by_arm))


def _differences(
    axes: Axes, gaps: dict[str, NDArray[Any]], differences: dict[str, Difference], colours: dict[str, str]
) -> None:
    for index, arm in enumerate(gaps):
        examples = differences[arm].examples
        if examples.low is not None and examples.high is not None:
            axes.barh(
                index - 0.34, examples.high - examples.low, left=examples.low, height=0.24,
                color=colours[arm], alpha=0.2, linewidth=0,
            )  # fmt: skip
    _strips(axes, gaps, colours)
    axes.axvline(0, color="0.4", linewidth=1, linestyle="--", zorder=0)


def _interval_of_mean(values: NDArray[Any]) -> tuple[float, float, float] | None:
    test = paired_t(values)
    if test.low is None or test.high is None:
        return (test.mean, test.mean, test.mean) if test.sd == 0 else None
    return test.low, test.mean, test.high


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_plain(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.65)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
    axes.locator_params(axis="x", nbins=5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _beside_each_other(values: NDArray[Any], close: float) -> NDArray[Any]:
    """Heights of points in a strip, such that points that would overlap are apart."""
    heights = np.zeros(len(values))
    group: list[int] = []
    for index in [*np.argsort(values, kind="stable"), None]:
        if group and (index is None or values[index] - values[group[-1]] > close):
            if len(group) > 1:
                heights[group] = np.linspace(-_SPREAD, _SPREAD, len(group))
            group = []
        if index is not None:
            group.append(int(index))
    return heights


def _values(evidence: Evidence, outcomes: Sequence[CellOutcome], arm: str, metric: str) -> NDArray[Any]:
    values = [
        (outcome.metrics["test"] if metric in METRICS else after.metrics)[metric]
        for outcome, after in zip(outcomes, evidence.calibrated, strict=True)
        if outcome.arm == arm
    ]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _plain(text: str) -> str:
    """Text with dollar signs escaped, which matplotlib would read as formulas."""
    return text.replace("$", r"\$")
