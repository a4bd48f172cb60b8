"""The tables of a comparison keep every name and number on narrow terminals."""

import io

import pytest
from rich.console import Console

from rdrop_cli.core.comparison.calibration import SHOWN, TESTED
from rdrop_cli.core.metrics.bootstrap import METRICS
from rdrop_cli.core.metrics.classification import HEADLINE
from rdrop_cli.terminal.console import Screen
from rdrop_cli.terminal.tables import calibration_table, difference_table, ensemble_table, summary_table

ARMS = ("plain", "rdrop-alpha1+smoothing")
PROBABILITIES = ("nll", "brier", "ece")
WIDTHS = pytest.mark.parametrize("width", [80, 120])


def shown(renderable, width):
    screen = Screen()
    screen.ui = Console(file=io.StringIO(), width=width, color_system=None)
    screen.show(renderable)
    text = screen.ui.file.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    return text


def rows(text):
    return [line.replace("│", " ").split() for line in text.splitlines()]


@WIDTHS
def test_the_means_fit(width):
    metric = {"mean": 0.61234, "sd": 0.01234}
    arm = {"metrics": dict.fromkeys((*METRICS, *SHOWN), metric), "seconds": 1234.0}
    text = shown(summary_table(dict.fromkeys(ARMS, arm)), width)
    assert text.count("0.6123 ±.0123") == 2 * len(METRICS), "calibration has a table of its own"
    assert text.count("1,234 s") == 2


@WIDTHS
def test_the_differences_fit_and_calibrated_ones_are_below_the_raw_ones(width):
    gap = {
        "difference": -0.01234, "interval_seeds": (-0.1234, 0.1234), "interval_examples": (-0.2345, 0.2345),
        "p_value": 0.00001, "p_holm": 0.12345, "sd": 0.1, "seeds_needed": None,
    }  # fmt: skip
    metrics = list(dict.fromkeys((*METRICS, *TESTED)))
    text = shown(difference_table([{**gap, "metric": name} for name in metrics]), width)
    for figure in ("-0.0123", "-0.1234 to +0.1234", "-0.2345 to +0.2345", "<0.0001", "0.1235", ">1,000"):
        assert text.count(figure) == len(metrics)
    frame_and_titles = 1 if width < 100 else 4
    assert len(text.splitlines()) == len(metrics) + frame_and_titles, "no name is folded"
    named = [row[0] for row in rows(text) if "-0.0123" in row]
    assert named == ["accuracy", "F1", "ROC-AUC", "NLL", "calibrated", "Brier", "calibrated"]


@WIDTHS
def test_the_calibration_fits_with_raw_values_above_calibrated_ones(width):
    metrics = {name: {"mean": 0.56234, "sd": 0.0162} for name in PROBABILITIES}
    metrics |= {f"{name}_calibrated": {"mean": 0.47324, "sd": 0.0085} for name in PROBABILITIES}
    metrics["temperature"] = {"mean": 10.0, "sd": 0.5}
    text = shown(calibration_table({arm: {"metrics": metrics} for arm in ARMS}), width)
    assert [row for row in rows(text) if "±" in " ".join(row)] == [
        row
        for arm in ARMS
        for row in ([arm, "raw", *["0.5623", "±.0162"] * 3], ["10.00", "±.50", *["0.4732", "±.0085"] * 3])
    ]


@WIDTHS
def test_what_is_not_known_is_a_dash(width):
    arm = {"metrics": {name: {"mean": None, "sd": None} for name in SHOWN}}
    assert ["–", "–", "–", "–"] in rows(shown(calibration_table({"plain": arm}), width))
    text = shown(ensemble_table({"plain": dict.fromkeys((*HEADLINE, *SHOWN))}), width)
    assert ["plain", "–", "–", "–", "raw", "–", "–", "–"] in rows(text)


@WIDTHS
def test_the_ensembles_fit(width):
    found = dict.fromkeys(HEADLINE, 0.81234) | dict.fromkeys(PROBABILITIES, 0.56234) | {"temperature": 1.6}
    found |= {f"{name}_calibrated": 0.4 for name in PROBABILITIES}
    text = shown(ensemble_table(dict.fromkeys(ARMS, found)), width)
    for arm in ARMS:
        assert [arm, "0.8123", "0.8123", "0.8123", "raw", "0.5623", "0.5623", "0.5623"] in rows(text)
    assert rows(text).count(["1.60", "0.4000", "0.4000", "0.4000"]) == 2
