"""The pictures of a comparison's report: seeds, differences, courses and costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.metrics import formatting
from rdrop_cli.core.metrics.classification import LOWER_IS_BETTER, TITLES
from rdrop_cli.core.metrics.significance import paired_t
from rdrop_cli.core.report import drawing, words
from rdrop_cli.core.report.parts import Picture, Table

if TYPE_CHECKING:
    from rdrop_cli.core.report.comparison_documents import Results

_ROW = 34
"""Units of height for each arm."""


def title_of(metric: str) -> str:
    """A metric's name for display."""
    plain = metric.removesuffix("_calibrated")
    title = TITLES.get(plain, plain)
    return title[:1].upper() + title[1:] + (", calibrated" if plain != metric else "")


def seeds(results: Results, metric: str, prefix: str) -> Picture | None:
    """A point for each seed, and the mean of each arm with its interval; None where nothing is known of it."""
    arms = {arm: [value for _, value in results.values(arm, metric)] for arm in results.arms}
    if not any(arms.values()):
        return None
    name = f"{prefix}seeds-{metric.replace('_', '-')}"
    better = "lower is better" if metric in LOWER_IS_BETTER else "higher is better"
    with drawing.sheet(name, below=better, height=_height(len(arms))) as sheet:
        for index, values in enumerate(arms.values()):
            _strip(sheet, np.array(values), index)
        drawing.rows(sheet.axes, words.labels(list(arms), 18))
    rows = [
        [arm, *_spread(values), f"{min(values):.4f}", f"{max(values):.4f}", f"{len(values)}"]
        for arm, values in arms.items()
        if values
    ]
    table = Table(f"{title_of(metric)} on test, over seeds", ["arm", "mean", "sd", "lowest", "highest", "seeds"], rows)
    description = "; ".join(f"{arm} {np.mean(values):.4f}" for arm, values in arms.items() if values)
    return Picture(name, title_of(metric), sheet.svg, f"Points for each arm; means: {description}.", table)


def _strip(sheet: drawing.Sheet, values: Any, index: int) -> None:
    """An arm's points, and below them its mean with the t interval."""
    if not len(values):
        return
    look = {key: value for key, value in drawing.style(index).items() if key != "linestyle"}
    rank = np.argsort(np.argsort(values, kind="stable"))
    heights = index - 0.17 + 0.18 * (rank / max(1, len(values) - 1) - 0.5)  # apart, where they are almost equal
    sheet.axes.plot(values, heights, linestyle="none", alpha=0.75, **look)
    test = paired_t(values) if len(values) > 1 else None
    mean = float(np.mean(values))
    error = None if test is None or test.low is None or test.high is None else [[mean - test.low], [test.high - mean]]
    sheet.axes.errorbar(
        mean,
        index + 0.24,
        xerr=error,
        fmt="|",
        color=look["color"],
        markersize=10,
        markeredgewidth=2,
        capsize=4,
        linewidth=2,
    )


def forest(results: Results, metric: str, prefix: str) -> Picture | None:
    """Each arm's difference to the baseline with both of its intervals, raw and, where there is one, calibrated."""
    both = [name for name in (metric, f"{metric}_calibrated") if results.differences(name)]
    others = results.arms[1:]
    if not both or not others:
        return None
    name = f"{prefix}difference-{metric}"
    direction = "lower" if metric in LOWER_IS_BETTER else "higher"
    better = f"difference to {words.label(results.content['baseline'], 18)}; {direction} is better"
    rows = []
    with drawing.sheet(name, below=better, height=_height(len(others)) + (24 if len(both) > 1 else 0)) as sheet:
        for which, each in enumerate(both):
            shift = (which - (len(both) - 1) / 2) * 0.36
            gaps = {gap["arm"]: gap for gap in results.differences(each)}
            for index, arm in enumerate(others):
                if (gap := gaps.get(arm)) is not None:
                    label = ("raw", "calibrated")[which] if len(both) > 1 and index == 0 else None
                    _difference(sheet, gap, index + shift, which, label)
                    rows.append(_difference_row(arm, each, gap))
        sheet.axes.axvline(0, color=drawing.INK, linewidth=1, linestyle=(0, (2, 2)))
        drawing.rows(sheet.axes, words.labels(others, 18))
        sheet.axes.locator_params(axis="x", nbins=4)
        sheet.legend(2)
    heads = ["arm", "metric", "difference", "95 % over seeds", "95 % over examples", "p", "p (Holm)"]
    table = Table(f"{title_of(metric)}: differences to {results.content['baseline']}", heads, rows, texts=2)
    description = "; ".join(f"{row[0]} {row[1]} {row[2]} ({row[3]})" for row in rows)
    return Picture(name, title_of(metric), sheet.svg, f"Differences with intervals over seeds: {description}.", table)


def _difference(sheet: drawing.Sheet, gap: Any, at: float, which: int, label: str | None) -> None:
    value = gap["difference"]
    if value is None:
        return
    colour = drawing.SERIES[which]
    low, high = gap.get("interval_examples") or (None, None)
    if low is not None and high is not None:
        sheet.axes.barh(at, high - low, left=low, height=0.26, color=colour, alpha=0.22, linewidth=0)
    low, high = gap["interval_seeds"]
    error = None if low is None or high is None else [[max(0.0, value - low)], [max(0.0, high - value)]]
    look: dict[str, Any] = {
        "fmt": drawing.MARKERS[which],
        "color": colour,
        "markeredgecolor": drawing.PAPER,
        "markersize": 6,
    }
    sheet.axes.errorbar(value, at, xerr=error, capsize=4, linewidth=2, label=label, **look)


def _difference_row(arm: str, metric: str, gap: Any) -> list[str]:
    return [
        arm,
        title_of(metric),
        words.signed(gap["difference"]),
        words.signed_interval(*gap["interval_seeds"]),
        words.signed_interval(*(gap.get("interval_examples") or (None, None))),
        formatting.p(gap.get("p_value")),
        formatting.p(gap.get("p_holm")),
    ]


def courses(results: Results, prefix: str) -> Picture | None:
    """The chosen metric on validation after each epoch, the mean over an arm's seeds."""
    metric = results.content["metric"]
    key = f"validation_{metric}"
    by_arm = {arm: _course(results.histories.get(arm, ()), key) for arm in results.arms}
    drawn = {arm: course for arm, course in by_arm.items() if course}
    if not drawn:
        return None
    name = f"{prefix}courses"
    with drawing.sheet(name, title=f"validation {title_of(metric)}", below="epoch") as sheet:
        for index, arm in enumerate(by_arm):
            if course := drawn.get(arm):
                sheet.axes.plot(list(course), list(course.values()), label=words.label(arm, 18), **drawing.style(index))
        sheet.axes.locator_params(axis="x", integer=True)
        sheet.legend(2)
    epochs = sorted({epoch for course in drawn.values() for epoch in course})
    rows = [[f"{epoch:g}", *(words.number(course.get(epoch)) for course in drawn.values())] for epoch in epochs]
    table = Table(f"{title_of(metric)} on validation, mean over seeds", ["epoch", *drawn], rows)
    text = "Lines over the epochs, one for each arm: the mean of its seeds."
    return Picture(name, "Validation over the epochs", sheet.svg, text, table)


def _course(histories: Sequence[Any], key: str) -> dict[float, float]:
    values_by_epoch: dict[float, list[float]] = {}
    for history in histories:
        for row in history:
            if row.get(key) is not None and row.get("epoch") is not None:
                values_by_epoch.setdefault(round(row["epoch"], 2), []).append(row[key])
    return {epoch: float(np.mean(values)) for epoch, values in sorted(values_by_epoch.items())}


def cost(results: Results, prefix: str) -> Picture | None:
    """The training time of each arm, and of each of its runs."""
    cells = [cell for cell in results.cells if isinstance(cell.get("seconds"), float | int)]
    if not cells:
        return None
    name = f"{prefix}cost"
    rows = []
    with drawing.sheet(name, below="seconds of training", height=_height(len(results.arms))) as sheet:
        for index, arm in enumerate(results.arms):
            own = [cell["seconds"] for cell in cells if cell["arm"] == arm]
            median = results.content["arms"][arm].get("seconds")
            if median is not None:
                sheet.axes.barh(
                    index, median, height=0.5, color=drawing.SERIES[index % len(drawing.SERIES)], alpha=0.3, linewidth=0
                )
            look = {key: value for key, value in drawing.style(index).items() if key != "linestyle"}
            sheet.axes.plot(own, [index] * len(own), linestyle="none", **look)
            rows.append(
                [arm, words.number(median, 1), *((f"{min(own):.1f}", f"{max(own):.1f}") if own else ("–", "–"))]
            )
        drawing.rows(sheet.axes, words.labels(results.arms, 18))
        sheet.axes.set_xlim(left=0)
    table = Table("Seconds of training of a run", ["arm", "median", "lowest", "highest"], rows)
    description = "; ".join(f"{row[0]} {row[1]} s" for row in rows)
    note = "Bars are medians of the runs that were not interrupted; points are runs."
    return Picture(name, "Training time of a run", sheet.svg, f"Bars: {description}.", table, note)


def _spread(values: Sequence[float]) -> tuple[str, str]:
    return f"{np.mean(values):.4f}", f"{np.std(values, ddof=1):.4f}" if len(values) > 1 else "–"


def _height(arms: int) -> int:
    return 62 + _ROW * max(2, arms)
