"""Tables keep every name and number, with many classes and on narrow terminals."""

import io

import pytest
from rich.console import Console

from rdrop_cli.core.metrics.bootstrap import METRICS
from rdrop_cli.core.metrics.classification import TITLES
from rdrop_cli.terminal.class_tables import class_table, confusion_table, per_class_table, predictions_table
from rdrop_cli.terminal.console import Screen
from rdrop_cli.terminal.tables import data_table, difference_table, metrics_table, summary_table

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


@pytest.mark.parametrize("width", [80, 120])
def test_a_comparison_fits(width):
    metric = {"mean": 0.61234, "sd": 0.01234}
    arm = {"metrics": dict.fromkeys(METRICS, metric), "seconds": 1234.0}
    text = shown(summary_table({"plain": arm, "rdrop+smoothing": arm}), width)
    assert text.count("0.6123 ±.0123") == 2 * len(METRICS)
    assert text.count("1,234 s") == 2
    assert "rdrop+smoothing" in text
    gap = {
        "difference": -0.01234, "interval_seeds": (-0.1234, 0.1234), "interval_examples": (-0.2345, 0.2345),
        "p_value": 0.00001, "p_holm": 0.12345, "sd": 0.1, "seeds_needed": None,
    }  # fmt: skip
    text = shown(difference_table([{**gap, "metric": name} for name in METRICS]), width)
    for figure in ("-0.0123", "-0.1234 to +0.1234", "-0.2345 to +0.2345", "<0.0001", "0.1235", ">1,000"):
        assert text.count(figure) == len(METRICS)


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
