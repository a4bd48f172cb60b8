"""Write a comparison's results: all cells as CSV, everything as JSON, a report, and a plot."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.comparison import plot
from rdrop_cli.core.comparison.arms import Arm, Budget, shared_settings, shown_settings
from rdrop_cli.core.comparison.calibration import AFTER_TEMPERATURE, SHOWN
from rdrop_cli.core.comparison.summary import markdown
from rdrop_cli.core.comparison.verdict import cautions
from rdrop_cli.core.metrics.classification import SCALARS, average_of
from rdrop_cli.core.storage.files import write_text

if TYPE_CHECKING:
    from rdrop_cli.core.comparison.analysis import Evidence
    from rdrop_cli.core.comparison.differences import Difference
    from rdrop_cli.core.comparison.grid import CellOutcome, Grid
    from rdrop_cli.core.data.dataset import Prepared

_COST = ("seconds", "steps", "best_epoch", "resumed_from_step")
_TESTS = {
    "p_value": "paired t-test over seeds, two-sided",
    "p_holm": "Holm's correction in three families: the chosen metric, for the arms compared; NLL and Brier score, raw"
    " and calibrated, for all arms; the other metrics, for all arms",
    "interval_seeds": "95 % paired t interval of the mean difference over seeds, on these test examples",
    "interval_examples": "95 % percentile bootstrap interval of the mean difference over test examples, these models"
    " and temperatures",
    "calibrated": "after one temperature for each run, fitted on its validation split, which also chose its best epoch",
    "ece": "expected calibration error in 15 bins of equally many examples; not tested, since it is biased upwards",
    "ensembles": "the mean of an arm's raw probabilities over its seeds; one classifier, so nothing is tested",
    "disagreement": "the share of test examples to which two runs of an arm give different labels, mean over all pairs",
    "seeds_needed": "pairs with which the corrected test, at its strictest, finds such a difference with 80 % power",
}


def write_results(
    evidence: Evidence, outcomes: Sequence[CellOutcome], grid: Grid, data: Prepared
) -> tuple[dict[str, Any], list[Path]]:
    """Write all result files of a comparison.

    Returns:
        The document, as in results.json, and the files; the last one is the plot, if matplotlib is installed.

    Raises:
        StorageError: a file cannot be written.
    """
    folder, budget = grid.folder, grid.budget
    content = document(evidence, outcomes, grid.arms, data, folder, budget)
    files = [
        write_cells(outcomes, evidence, folder, budget),
        write_document(content, folder, budget),
        write_report(content, folder, budget),
    ]
    if plot.can_plot():
        files.append(_picture_path(folder, budget))
        plot.draw_plot(evidence, outcomes, Path(content["data"]["source"]).name, files[-1])
    return content, files


def write_cells(outcomes: Sequence[CellOutcome], evidence: Evidence, folder: Path, budget: Budget) -> Path:
    """Write results.csv, with a row for each cell: its cost, and its metrics on validation and test.

    Raises:
        StorageError: it cannot be written.
    """
    path = folder / f"{_stem(budget)}.csv"
    buffer = io.StringIO()
    columns = [f"{split}_{name}" for split in ("validation", "test") for name in SCALARS]
    more = [name for name in SHOWN if name not in SCALARS]
    columns += ["temperature" if name == "temperature" else f"test_{name}" for name in more]
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["arm", "seed", *_COST, *columns, "run"])
    for outcome, after in zip(outcomes, evidence.calibrated, strict=True):
        metrics = [outcome.metrics[split][name] for split in ("validation", "test") for name in SCALARS]
        metrics += [after.metrics[name] for name in more]
        cost = [outcome.cost.get(key) for key in _COST]
        writer.writerow([outcome.arm, outcome.seed, *cost, *metrics, outcome.folder.relative_to(folder).as_posix()])
    write_text(path, buffer.getvalue())
    return path


def write_document(content: dict[str, Any], folder: Path, budget: Budget) -> Path:
    """Write results.json.

    Raises:
        StorageError: it cannot be written.
    """
    path = folder / f"{_stem(budget)}.json"
    write_text(path, json.dumps(content, indent=2) + "\n")
    return path


def write_report(content: dict[str, Any], folder: Path, budget: Budget) -> Path:
    """Write results.md.

    Raises:
        StorageError: it cannot be written.
    """
    path = folder / f"{_stem(budget)}.md"
    write_text(path, markdown(content))
    return path


def _picture_path(folder: Path, budget: Budget) -> Path:
    """The path of the plot."""
    return folder / f"{_stem(budget)}.png"


def document(
    evidence: Evidence,
    outcomes: Sequence[CellOutcome],
    arms: Sequence[Arm],
    data: Prepared,
    folder: Path,
    budget: Budget,
) -> dict[str, Any]:
    """All results of a comparison in the form that `--json` prints and results.json contains.

    Args:
        evidence: The analysis of the outcomes.
        folder: The comparison's folder; earlier results in it show which arms and seeds were analysed before.
    """
    look = {"arms": [arm.name for arm in arms], "seeds": evidence.seeds}
    looks = [*(earlier for earlier in _looks(folder / f"{_stem(budget)}.json") if earlier != look), look]
    return {
        "comparison": str(folder),
        "data": {
            "source": data.source["name"],
            "fingerprint": data.fingerprint,
            "splits": {name: len(split) for name, split in data.splits.items()},
        },
        "budget": budget,
        "seeds": evidence.seeds,
        "shared": dict(shared_settings(arms)),
        "baseline": evidence.baseline,
        "metric": evidence.metric,
        "f1_average": average_of(data.labels.names),
        "verdict": evidence.verdict,
        "arms": {
            arm.name: {
                "settings": shown_settings(arm, arms),
                "passes": arm.passes,
                "seconds": evidence.seconds[arm.name],
                "metrics": {
                    name: {"n": summary.n, "mean": summary.mean, "sd": summary.sd}
                    for name, summary in evidence.summaries[arm.name].items()
                },
            }
            for arm in arms
        },
        "ensembles": {
            arm: {"seeds": combined.seeds, "disagreement": combined.disagreement, **combined.metrics}
            for arm, combined in evidence.ensembles.items()
        },
        "differences": [_difference(gap) for gap in evidence.differences],
        "tests": _TESTS,
        "cells": [
            {
                "arm": outcome.arm,
                "seed": outcome.seed,
                "run": outcome.folder.relative_to(folder).as_posix(),
                **{key: outcome.cost.get(key) for key in _COST},
                "metrics": outcome.metrics,
                "calibrated": {name: after.metrics[name] for name in AFTER_TEMPERATURE},
            }
            for outcome, after in zip(outcomes, evidence.calibrated, strict=True)
        ],
        "environments": sorted({outcome.environment for outcome in outcomes}),
        "looks": looks,
        "cautions": cautions(outcomes, arms, looks, evidence.calibrated),
    }


def _difference(gap: Difference) -> dict[str, Any]:
    test = gap.test
    return {
        "arm": gap.arm,
        "metric": gap.metric,
        "n": test.n if test else None,
        "difference": test.mean if test else None,
        "sd": test.sd if test else None,
        "interval_seeds": [test.low, test.high] if test else [None, None],
        "interval_examples": [gap.examples.low, gap.examples.high],
        "p_value": test.p_value if test else None,
        "p_holm": gap.p_holm,
        "seeds_needed": gap.seeds_needed,
    }


def _looks(path: Path) -> list[dict[str, Any]]:
    """Which arms and seeds were analysed before; none if the file cannot be read."""
    try:
        looks = json.loads(path.read_text(encoding="utf-8"))["looks"]
        return [{"arms": list(map(str, look["arms"])), "seeds": list(map(int, look["seeds"]))} for look in looks]
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return []


def _stem(budget: Budget) -> str:
    """The name of result files by budget: comparisons with both budgets share a folder, because they share cells."""
    return "results" if budget == "steps" else f"results-{budget}"
