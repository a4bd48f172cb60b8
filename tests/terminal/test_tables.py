"""Tables keep every name and number, with many classes and on narrow terminals."""

import io

import pytest
from rich.console import Console

from rdrop_cli.core.metrics.classification import TITLES
from rdrop_cli.core.runs.calibration import Calibration
from rdrop_cli.terminal.class_tables import class_table, confusion_table, per_class_table, predictions_table
from rdrop_cli.terminal.console import Screen
from rdrop_cli.terminal.tables import data_table, describe_temperature, metrics_table, probabilities_table

SPLITS = ("train", "validation", "test")


def report(classes):
    row = {"p50": 27, "p95": 1234, "max": 12345, "truncated": 0.123, "lost": 0.456}
    return {
        "classes": {split: {f"CLASS_{i:03}": 1000 + i for i in range(classes)} for split in SPLITS},
        "tokens": {"max_length": 512, "splits": dict.fromkeys(SPLITS, row)},
    }


def screen_of(width):
    screen = Screen()
    screen.ui = Console(file=io.StringIO(), width=width, color_system=None)
    return screen


def shown(renderable, width):
    screen = screen_of(width)
    screen.show(renderable)
    text = screen.ui.file.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    return text


def names(count, length=9):
    return [f"CLASS_{index:0{length - 6}}" for index in range(count)]


@pytest.mark.parametrize("width", [80, 120])
def test_no_name_or_number_is_cut(width):
    metrics = {**dict.fromkeys(TITLES, 12.12345), "mcc": -0.1234, "examples": 250_000}
    _, classes = class_table(report(6))
    for made in (data_table(report(6)), classes, metrics_table(dict.fromkeys(SPLITS, metrics))):
        text = shown(made, width)
        assert "…" not in text
        assert all(split in text for split in SPLITS)
    assert "-0.1234" in text
    assert text.count("12.1235") == 3 * 6
    assert text.count("250,000") == 3


RAW = {"nll": 0.51, "brier": 0.31, "ece": 0.11}
CALIBRATED = {"nll_calibrated": 0.42, "brier_calibrated": 0.32, "ece_calibrated": 0.12, "temperature": 1.37}


@pytest.mark.parametrize("width", [80, 120])
def test_probabilities_are_shown_raw_and_calibrated_where_there_is_a_temperature(width):
    text = shown(probabilities_table({"validation": {**RAW, **CALIBRATED}, "test": {**RAW, "temperature": 1.0}}), width)
    rows = [line.replace("│", " ").split() for line in text.splitlines() if "0." in line]
    assert rows == [
        ["validation", "raw", "0.5100", "0.3100", "0.1100"],
        ["calibrated", "0.4200", "0.3200", "0.1200"],
        ["test", "raw", "0.5100", "0.3100", "0.1100"],
    ]


@pytest.mark.parametrize(
    ("calibration", "line"),
    [
        (Calibration(1.3734, in_head=True, examples=1852), "Temperature 1.37, fitted on 1,852 validation examples"),
        (Calibration(1.3734, in_head=True), "Temperature 1.37"),
        (Calibration(2.0), "Temperature 2; it is not in the weights, so only rdrop applies it"),
        (Calibration(1.0, reason="too few"), "Probabilities are not calibrated: too few"),
    ],
)
def test_the_temperature_is_described_in_one_line(calibration, line):
    assert describe_temperature(calibration) == line


def test_very_many_classes_are_shown_by_their_largest_and_smallest():
    title, made = class_table(report(300))
    text = shown(made, 120)
    assert text.count("CLASS_") == 24
    assert "CLASS_299" in text
    assert "CLASS_000" in text
    assert title == "Classes: the 12 largest and the 12 smallest of 300 (all: --json)"


@pytest.mark.parametrize("width", [80, 120])
def test_of_very_many_classes_the_worst_are_shown(width):
    rows = [{"precision": 0.5, "recall": 0.5, "f1": index / 100, "support": 12_345} for index in range(100)]
    rows[0] = {"precision": None, "recall": None, "f1": None, "support": 0}
    title, made = per_class_table(names(100), rows)
    assert title == "Classes: the 24 with the lowest F1 of 100 (all: --json)"
    text = shown(made, width)
    assert next(line for line in text.splitlines() if "CLASS_" in line).strip("│ ").startswith("CLASS_001")
    assert text.count("CLASS_") == 24
    assert "CLASS_000" not in text, "an undefined F1 is not a low one"
    title, made = per_class_table(names(20), rows[:20])
    assert (title, shown(made, width).count("CLASS_")) == ("Classes", 20)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("count", "length"), [(2, 9), (5, 9), (6, 30), (12, 12)])
def test_a_confusion_matrix_keeps_all_names_and_numbers(count, length, width):
    labels = names(count, length)
    matrix = [[100 + row * 12 + column for column in range(count)] for row in range(count)]
    title, made = confusion_table(labels, matrix, screen_of(width).fits)
    assert title == "Confusion matrix"
    text = shown(made, width).replace("\n", " ")
    assert all(f"{number:,}" in text for row in matrix for number in row)
    assert "…" not in text
    assert all(label in "".join(shown(made, 500).split()) for label in labels)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("count", [20, 100])
def test_of_many_classes_the_most_confused_pairs_are_shown(count, width):
    matrix = [[0] * count for _ in range(count)]
    for index in range(count):
        matrix[index][index] = 75
        matrix[index][(index + 1) % count] = 25 if index == 7 else 1
    title, made = confusion_table(names(count, 40), matrix, screen_of(width).fits)
    assert title == f"Most confused classes, 15 of {count} pairs (the whole matrix: --json)"
    text = shown(made, width)
    assert "…" not in text
    assert "25.0%" in text.splitlines()[1 if width < 100 else 3], "the most confused pair stands first"


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("count", "length", "is_whole"), [(2, 9, True), (4, 9, True), (5, 30, False), (20, 9, False)])
def test_predictions_have_all_probabilities_or_the_likeliest(count, length, is_whole, width):
    labels = names(count, length)
    probabilities = dict.fromkeys(labels, 0.0001) | {labels[1]: 0.9, labels[0]: 0.0321}
    made, has_all = predictions_table(
        [("a long review " * 50, labels[1], 0.9, probabilities)], labels, screen_of(width).fits
    )
    assert has_all == is_whole
    text = shown(made, width)
    assert "0.9000" in text
    assert "0.0321" in text
    assert text.count("0.0001") == (count - 2 if is_whole else min(count - 2, 1))
    assert text.count("…") == 1, "the text, which is data"
