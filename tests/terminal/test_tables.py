"""Tables keep every name and number, with many classes and on narrow terminals."""

import io

import pytest
from rich.console import Console

from rdrop_cli.core.metrics.classification import TITLES
from rdrop_cli.terminal.console import Screen
from rdrop_cli.terminal.tables import class_table, data_table, metrics_table

SPLITS = ("train", "validation", "test")


def report(classes):
    row = {"p50": 27, "p95": 1234, "max": 12345, "truncated": 0.123, "lost": 0.456}
    return {
        "classes": {split: {f"CLASS_{i:03}": 1000 + i for i in range(classes)} for split in SPLITS},
        "tokens": {"max_length": 512, "splits": dict.fromkeys(SPLITS, row)},
    }


def shown(renderable, width):
    buffer = io.StringIO()
    screen = Screen()
    screen.ui = Console(file=buffer, width=width, color_system=None)
    screen.show(renderable)
    return buffer.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_no_name_or_number_is_cut(width):
    metrics = {**dict.fromkeys(TITLES, 0.12345), "examples": 25_000}
    tables = [data_table(report(6)), class_table(report(6)), metrics_table(dict.fromkeys(SPLITS, metrics))]
    for made in tables:
        text = shown(made, width)
        assert "…" not in text
        assert all(split in text for split in SPLITS)
    assert shown(class_table(report(6)), width).count("CLASS_") == 6


def test_very_many_classes_are_shown_by_their_largest_and_smallest():
    text = shown(class_table(report(300)), 120)
    assert text.count("CLASS_") == 24
    assert "CLASS_299" in text
    assert "CLASS_000" in text
