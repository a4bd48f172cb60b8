"""The list of runs keeps every name and number on every terminal."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from rdrop_cli.config import load_config
from rdrop_cli.core.runs.summary import Summary
from rdrop_cli.terminal.console import Screen
from rdrop_cli.terminal.runs_tables import RunsTable, age
from rdrop_cli.wording import size

DEFAULT = "rotten-tomatoes-starter-alpha5-seed42"
NUMBERS = ("5", "42", "0.7612", "0.7598", "0.8441", "1.2 GiB", "59 min")


def summary(name, **changes):
    values = {
        "name": name, "folder": Path("runs", name), "state": "finished", "faults": (), "config": load_config(),
        "record": {}, "metrics": {"test": {"accuracy": 0.76123, "f1": 0.75984, "roc_auc": 0.84412}},
        "disk": {"best": 1_300_000_000}, "written": 0.0,
    }  # fmt: skip
    return Summary(**{**values, **changes})


def shown(runs, width):
    buffer = io.StringIO()
    screen = Screen()
    screen.ui = Console(file=buffer, width=width, color_system=None)
    screen.show(RunsTable(runs, now=3599))
    return buffer.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("name", ["mine", DEFAULT, "a-run-with-a-very-long-name-" * 4])
def test_no_name_or_number_is_cut(name, width):
    stopped = summary(f"{name}-2", state="unfinished", metrics={}, epoch=12.34)
    lines = shown([summary(name), stopped], width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert "…" not in "".join(lines)
    assert name in "".join(line.strip() for line in lines)
    for number in (*NUMBERS, "unfinished 12.3/", "rotten-tomatoes"):
        assert any(number in line for line in lines)


def test_a_run_takes_one_line_where_it_fits_and_two_where_not():
    runs = [summary(DEFAULT), summary(DEFAULT)]
    assert [len(shown(runs, width).splitlines()) for width in (120, 80)] == [3, 6]
    assert len(shown([summary("mine")], 80).splitlines()) == 2


def test_a_run_that_cannot_be_read_is_a_row():
    text = shown([summary("mine", state="damaged", config=None, metrics={}, faults=("gone",))], 80)
    assert text.splitlines()[1].split() == ["mine", *"–––", "damaged", *"–––", "1.2", "GiB", "59", "min"]


def test_sizes_and_ages():
    assert [size(held) for held in (0, 2000, 2**20, 3 * 2**30)] == ["0 KiB", "2 KiB", "1 MiB", "3.0 GiB"]
    assert [age(seconds) for seconds in (-5, 59, 3600, 90_000)] == ["0 s", "59 s", "1 h", "1 d"]
