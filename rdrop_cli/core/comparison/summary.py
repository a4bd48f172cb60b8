"""A comparison as Markdown, to paste into a paper's appendix, a pull request or a README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdrop_cli.core.metrics import formatting
from rdrop_cli.core.metrics.bootstrap import METRICS
from rdrop_cli.core.metrics.classification import TITLES
from rdrop_cli.core.runs.model_card import as_code

CALIBRATION_COLUMNS = (
    "temperature", "nll", "nll_calibrated", "brier", "brier_calibrated", "ece", "ece_calibrated"
)  # fmt: skip
_TITLES = {
    "interval_seeds": "95 % over seeds",
    "interval_examples": "95 % over examples",
    "p_value": "p",
    "p_holm": "p (Holm)",
}


def markdown(document: Mapping[str, Any]) -> str:
    """The whole report.

    Args:
        document: As `results.document` gives it.
    """
    splits = document["data"]["splits"]
    seeds = ", ".join(map(str, document["seeds"]))
    parts = [
        f"# {as_code(Path(document['data']['source']).name)}: {', '.join(document['arms'])}",
        f"{splits['train']:,} training, {splits['validation']:,} validation and {splits['test']:,} test examples;"
        f" seeds {seeds}; best epoch by validation {document['metric']}."
        f" F1: {as_code(document['f1_average'])}. {'; '.join(document['environments'])}.",
        f"All arms: {', '.join(f'{key} {as_code(str(value))}' for key, value in document['shared'].items())}.",
        "Results on test: means ± standard deviations over seeds; time is the median training time of a run.",
        means_table(document),
        *_calibration(document),
        what_is_equal(document),
        verdict_list(document),
        *(f"**Note:** {caution}." for caution in document["cautions"]),
        differences_table(document),
        "\n".join(f"* {title}: {document['tests'][name]}" for name, title in _TITLES.items()),
    ]
    return "\n\n".join(parts) + "\n"


def what_is_equal(document: Mapping[str, Any]) -> str:
    """What all arms have the same number of, and what not: without it, a verdict may be that of more compute."""
    if document.get("budget") == "compute":
        return (
            "All arms make the same number of passes over examples (equal compute): those of fewer train more epochs."
        )
    by_passes: dict[int, list[str]] = {}
    for name, arm in document["arms"].items():
        if "passes" not in arm:  # earlier versions did not say
            return "All arms take the same number of optimizer steps."
        by_passes.setdefault(arm["passes"], []).append(name)
    if len(by_passes) == 1:
        return "All arms take the same number of optimizer steps and make the same number of passes over examples."
    each = "; ".join(f"{passes}: {', '.join(names)}" for passes, names in sorted(by_passes.items()))
    return (
        "All arms take the same number of optimizer steps, but not the same number of passes over each example"
        f" ({each}); rdrop compare --budget compute makes that equal."
    )


def means_table(document: Mapping[str, Any]) -> str:
    """A row for each arm: its metrics and its time."""
    rows = []
    for name, arm in document["arms"].items():
        cells = [_spread(**_mean_and_sd(arm, name)) for name in METRICS]
        settings = ", ".join(f"{key} {value}" for key, value in arm["settings"].items())
        time = "–" if arm["seconds"] is None else f"{arm['seconds']:.0f} s"
        rows.append([name, settings, *cells, time])
    return _table(["arm", "its settings", *(TITLES[name] for name in METRICS), "time a run"], rows, texts=2)


def _calibration(document: Mapping[str, Any]) -> list[str]:
    if not has_calibration(document):
        return []
    tests = document["tests"]
    parts = [f"Calibration: {tests['calibrated']}. ECE: {tests['ece']}.", calibration_table(document)]
    if document["ensembles"]:
        parts += [f"Ensembles: {tests['ensembles']}. Disagreement: {tests['disagreement']}.", ensembles_table(document)]
    return parts


def has_calibration(document: Mapping[str, Any]) -> bool:
    """Whether a comparison was analysed with temperatures; those of earlier versions were not."""
    return all("temperature" in arm["metrics"] for arm in document["arms"].values())


def calibration_table(document: Mapping[str, Any]) -> str:
    """A row for each arm, and one for each ensemble: its temperature, and each loss before and after it."""
    rows = []
    for name, arm in document["arms"].items():
        each = {metric: _spread(**_mean_and_sd(arm, metric)) for metric in CALIBRATION_COLUMNS}
        rows.append([name, *each.values()])
    for name, combined in document["ensembles"].items():
        numbers = [formatting.number(combined[metric]) for metric in CALIBRATION_COLUMNS]
        rows.append([f"{name}, ensemble of {combined['seeds']}", *numbers])
    return _table(["arm", *(TITLES[name] for name in CALIBRATION_COLUMNS)], rows, texts=1)


def ensembles_table(document: Mapping[str, Any]) -> str:
    """A row for each ensemble: its classification metrics, and how often its runs disagree."""
    ensembles = document["ensembles"]
    rows = [
        [f"{name}, ensemble of {combined['seeds']}", *(formatting.number(combined[metric]) for metric in METRICS)]
        for name, combined in ensembles.items()
    ]
    columns = ["arm", *(TITLES[name] for name in METRICS)]
    if all("disagreement" in combined for combined in ensembles.values()):  # earlier versions did not measure it
        columns.append("its runs disagree")
        rows = [
            [*row, formatting.number(combined["disagreement"])]
            for row, combined in zip(rows, ensembles.values(), strict=True)
        ]
    return _table(columns, rows, texts=1)


def differences_table(document: Mapping[str, Any]) -> str:
    """A row for each metric of each arm except the baseline."""
    rows = [
        [
            gap["arm"],
            TITLES[gap["metric"]],
            *formatting.difference(gap),
        ]
        for gap in document["differences"]
    ]
    return _table([f"against {document['baseline']}", "metric", "difference", *_TITLES.values()], rows, texts=2)


def verdict_list(document: Mapping[str, Any]) -> str:
    """The verdict as a list, with an item for each arm except the baseline."""
    return "\n".join(f"* {sentence}" for sentence in document["verdict"])


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int) -> str:
    lines = [titles, ["---"] * texts + ["---:"] * (len(titles) - texts), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _mean_and_sd(arm: Mapping[str, Any], metric: str) -> dict[str, float | None]:
    statistics = arm["metrics"][metric]
    return {"mean": statistics["mean"], "sd": statistics["sd"]}


def _spread(mean: float | None, sd: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.4f}" if sd is None else f"{mean:.4f} ± {sd:.4f}"
