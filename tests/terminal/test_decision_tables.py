"""Tables about thresholds and abstaining fit 80 columns, and mark what was chosen."""

import io

import numpy as np
import pytest
from rich.console import Console

from rdrop_cli.core.metrics.abstaining import covered
from rdrop_cli.core.metrics.thresholds import Rule, choose, threshold_curve
from rdrop_cli.terminal.console import Screen
from rdrop_cli.terminal.decision_tables import coverage_table, curve_table, rounded_down, threshold_table

RNG = np.random.default_rng(0)
SCORES = RNG.random(20_000)
LABELS = RNG.random(20_000) < SCORES


def shown(renderable, width):
    screen = Screen()
    screen.ui = Console(file=io.StringIO(), width=width, color_system=None)
    screen.show(renderable)
    return screen.ui.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut(width):
    curve = threshold_curve(LABELS, SCORES)
    chosen = choose(curve, Rule("precision", 0.9))
    text = shown(curve_table(curve, chosen), width)
    (line,) = [line for line in text.splitlines() if "chosen" in line]
    assert f"{curve.thresholds[chosen]:.4f}" in line and f"{curve.recall[chosen]:.4f}" in line
    assert len(text.splitlines()) > 10 and "…" not in text
    metrics = {"accuracy": 0.8123, "f1": 0.7123, "precision": None, "recall": 0.0}
    text = shown(threshold_table(metrics, {**metrics, "precision": 0.9123}, "0.00000001"), width)
    assert "from 0.00000001 on" in text and "0.9123" in text and "–" in text and "…" not in text
    text = shown(coverage_table(covered(LABELS, SCORES > 0.5, np.maximum(SCORES, 1 - SCORES))), width)
    assert "100.0%" in text and "20,000" in text and "…" not in text


def test_a_confidence_is_rounded_so_that_its_own_examples_keep_their_label():
    assert rounded_down(0.70009) == "0.7000"
    assert rounded_down(0.99999) == "0.9999"
