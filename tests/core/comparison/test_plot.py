"""The picture of a comparison."""

import struct

import numpy as np
import pytest

from rdrop_cli.core.comparison import plot
from rdrop_cli.core.comparison.analysis import weigh
from rdrop_cli.core.comparison.grid import CellOutcome
from rdrop_cli.core.comparison.plot import draw_plot
from rdrop_cli.core.metrics.classification import classification_metrics
from rdrop_cli.core.metrics.predictions import Predictions


def outcomes(arms, seeds, alike=False):
    labels = np.arange(100) % 2
    for seed in range(seeds):
        for index, arm in enumerate(arms):
            rng = np.random.default_rng(0 if alike else 100 * seed + index)
            p = 1 / (1 + np.exp(-(rng.normal(size=100) + (1 + index / 4) * (2 * labels - 1))))
            test = Predictions(labels, np.column_stack([1 - p, p]))
            yield CellOutcome(
                arm, seed, None, {"test": classification_metrics(labels, test.probabilities)}, test, {"seconds": 1}
            )


@pytest.mark.parametrize(
    ("arms", "seeds", "alike"),
    [
        (["plain", "smoothing", "rdrop", "rdrop+smoothing"], 10, False),
        (["plain", "a$name_with^tex$"], 1, False),
        (["plain", "again"], 3, True),
    ],
)
def test_it_is_drawn(tmp_path, arms, seeds, alike):
    found = list(outcomes(arms, seeds, alike))
    draw_plot(weigh(found, "f1"), found, "a $data$ name", tmp_path / "results.png")
    content = (tmp_path / "results.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    assert width == 1800 and height > 300


def test_points_that_would_cover_each_other_stand_apart():
    heights = plot._beside_each_other(np.array([0.5, 0.9, 0.501, 0.502]), 0.01)
    assert heights[1] == 0
    assert len(set(heights[[0, 2, 3]])) == 3
    assert np.abs(heights).max() <= 0.3
