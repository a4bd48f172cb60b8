"""A course of numbers as a few characters."""

import math

import pytest

from rdrop_cli.terminal.sparkline import sparkline


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], 20, "▁▂▃▄▅▆▇█"),
        ([3, 2, 1], 20, "█▅▁"),
        ([0.5, 0.5], 20, "▅▅"),
        ([1, None, 0], 20, "█ ▁"),
        ([1, math.nan, math.inf, 0, -math.inf], 20, "█  ▁ "),
        ([math.nan, 4, 0, math.inf], 2, "█▁"),
        ([None, None], 20, "  "),
        ([None, 4, 0, 0, 2, 2], 3, "█▁▅"),
        ([7], 1, "▅"),
        ([], 5, ""),
    ],
)
def test_the_lowest_value_is_the_lowest_block_and_gaps_stay_gaps(values, width, drawn):
    assert sparkline(values, width) == drawn


def test_it_is_never_wider_than_there_is_room():
    assert sparkline(list(range(1001)), 40) == "".join(character * 5 for character in "▁▂▃▄▅▆▇█")
