"""The live view of a comparison, drawn on a terminal of its own."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rdrop_cli.config import load_config
from rdrop_cli.core.comparison.arms import make_arms
from rdrop_cli.core.comparison.grid import Cell, CellOutcome
from rdrop_cli.core.comparison.observer import ComparisonPlan
from rdrop_cli.core.data.dataset import Prepared, Split
from rdrop_cli.core.data.labels import LabelMap
from rdrop_cli.core.training.observer import TrainingPlan
from rdrop_cli.terminal.comparison_view import LiveComparison, comparison_observer
from rdrop_cli.terminal.console import Screen
from training_runs import PLAN

METRICS = {"validation": {"accuracy": 0.8, "f1": 0.75, "roc_auc": 0.9, "nll": None}, "test": {"accuracy": 0.12345}}


def terminal():
    """Two cells, a screen that takes itself for a terminal, and what it shows."""
    arms = make_arms(load_config("starter"), ["plain", "rdrop"], [], "steps")
    buffer = io.StringIO()
    screen = Screen()
    screen.ui = Console(file=buffer, force_terminal=True, width=120, color_system=None, markup=False)
    return [Cell(arm, 42, Path(arm.name)) for arm in arms], screen, buffer


def test_the_view_has_all_runs_this_run_and_a_row_for_each_arm_and_leaves_the_terminal_tidy():
    cells, screen, buffer = terminal()
    with screen.stages() as stages, comparison_observer(screen, stages) as view:
        assert isinstance(view, LiveComparison)
        view.training.stage("Reading", 5, 5)
        view.plan(ComparisonPlan(cells, [60.0, 100.0], 2**30), cells)
        for index, cell in enumerate(cells):
            view.began(cell)
            assert isinstance(PLAN, TrainingPlan)
            view.training.plan(PLAN)
            view.training.step(1)
            view.training.log({"loss": 0.7, "ce": 0.6, "learning_rate": 1e-4, "epoch": 0.5, "step": 1})
            view.training.evaluating(3)
            view.live.refresh()  # as its own thread does four times a second
            view.training.stopping()
            view.training.notice("something [red]odd[/]\x1b[31m")
            view.ended(
                CellOutcome(cell.arm.name, 42, cell.folder, METRICS, None, {"seconds": 61.0}), (100.0, 0.0)[index]
            )
        view.training.stage("Resampling", 1, 2)
    shown = buffer.getvalue()
    assert "Runs   2 runs: 2 arms, seed 42" in shown
    assert "To do  2 runs, about 2 min 40 s; disk 1.0 GiB at most" in shown
    assert "about 2 min 25 s left" in shown, "one of four steps of the first run is done"
    assert "about 1 min 15 s left" in shown, "and of the second"
    assert "plain seed 42: validation" in shown
    assert "Loss     0.7000" in shown
    assert "│ plain │  0/1 │   0.8000 │ 0.7500 │  0.9000 │   – │ 1 min 01 s │" in shown
    assert "rdrop seed 42: something [red]odd[/]\\x1b[31m" in shown
    assert "0.1234" not in shown, "test is not shown while it runs"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is shown again"


@pytest.mark.parametrize(("width", "height"), [(80, 12), (80, 24), (120, 24), (120, 60)])
def test_every_figure_is_whole_on_terminals_of_any_size(width, height):
    arms = make_arms(load_config("starter"), ["plain", "smoothing", "rdrop", "rdrop+smoothing"], [], "steps")
    cells = [Cell(arm, 42, Path(arm.name)) for arm in arms]
    screen = Screen()
    screen.ui = Console(
        file=io.StringIO(), force_terminal=True, width=width, height=height, color_system=None, markup=False
    )
    metrics = {"validation": {"accuracy": 0.8125, "f1": 0.7525, "roc_auc": 0.9125, "nll": 12.3456}}
    with screen.stages() as stages, comparison_observer(screen, stages) as view:
        view.plan(ComparisonPlan(cells, [6000.0] * 4, 2**30), cells)
        view.began(cells[3])
        view.training.plan(PLAN)
        for step in (1, 2):
            row = {"loss": 0.7 / step, "ce": 0.6, "kl": 0.02, "kl_share": 1.0, "agreement": 1.0, "learning_rate": 1e-4}
            view.training.log({**row, "epoch": 0.5, "step": step})
            view.training.log({f"validation_{name}": 0.5 for name in ("accuracy", "f1", "roc_auc", "nll")})
        view.training.evaluating(3)
        view.ended(CellOutcome("rdrop+smoothing", 42, cells[3].folder, metrics, None, {"seconds": 3661.0}), 18_000.0)
        view.live.stop()
        screen.ui.file.truncate(0)
        screen.ui.file.seek(0)
        screen.ui.print(view)
        lines = screen.ui.file.getvalue().splitlines()
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    shown = "\n".join(lines)
    assert "…" not in shown
    figures = ["about 5 h 00 min left", "0.7000 █▁ 0.3500", "0.8125", "0.7525", "0.9125", "12.3456", "1 h 01 min"]
    if height > 12:
        figures += ["CE 0.6000", "passes agree 100.0%", "0.5000 ▅▅ 0.5000"]
    for figure in (*figures, "rdrop+smoothing seed 42: validation", *(arm.name for arm in arms)):
        assert figure in shown


@pytest.mark.parametrize("is_live", [True, False])
def test_runs_in_training_at_the_same_time_are_all_shown_and_one_that_fails_is_named(is_live):
    cells, screen, buffer = terminal()
    if not is_live:
        screen.ui = Console(file=buffer, width=120, markup=False)
    with screen.stages() as stages, comparison_observer(screen, stages) as view:
        view.plan(ComparisonPlan(cells, [1.0, 2.0], 2**30, at_once=2, is_timed=False), cells)
        trainings = []
        for cell in cells:
            view.began(cell)
            trainings.append(view.training_of(cell))
        for step, training in enumerate(trainings, start=1):
            training.place("node-7")
            training.plan(PLAN)
            training.step(step)
            training.micro_batch(4)
        if is_live:
            screen.ui.print(view)
        view.failed(cells[1], "memory ran out")
        view.ended(CellOutcome("plain", 42, cells[0].folder, METRICS, None, {"seconds": 61.0}), 0.0)
    shown = buffer.getvalue()
    assert "To do  2 runs, 2 at a time, for a time that the first run will show; disk 1.0 GiB at most" in shown
    assert "rdrop seed 42: memory ran out" in shown
    if is_live:
        assert {"plain seed 42 on node-7", "rdrop seed 42 on node-7"} <= {
            line.strip()[:23] for line in shown.splitlines()
        }
        assert "1/4" in shown and "2/4" in shown
    else:
        assert "plain seed 42 is trained on node-7" in shown
        assert "plain seed 42 begins" in shown and "rdrop seed 42 begins" in shown
        assert "[1/2] plain seed 42" in shown


def test_where_nothing_is_left_to_train_the_rest_still_shows_its_progress():
    cells, screen, buffer = terminal()
    with screen.stages() as stages, comparison_observer(screen, stages) as view:
        view.training.stage("Reading", 5, 5)
        view.plan(ComparisonPlan([], [], 0), cells)
        view.stage("Resampling", 1, 2)
    assert "Resampling" in buffer.getvalue()
    assert "To do  nothing: every run is done" in buffer.getvalue()


@pytest.mark.parametrize("is_live", [True, False])
def test_the_data_is_shown_before_and_the_weighing_after(is_live):
    cells, screen, buffer = terminal()
    if not is_live:
        screen.ui = Console(file=buffer, width=120, markup=False)
    train = Split(["a", "b", "c"], None, np.array([0, 1, 1]))
    columns = {"text": "words", "label": "stars", "text_pair": None}
    report = {"label_note": "Labels were read as ids"}
    with screen.stages() as stages, comparison_observer(screen, stages) as view:
        assert isinstance(view, LiveComparison) == is_live
        view.data(Prepared(LabelMap(("bad", "good")), {"train": train}, columns, report, {}))
        view.plan(ComparisonPlan([], [], 0), cells)
        view.stage("Resampling", 2, 2)
    shown = buffer.getvalue()
    lines = [
        "Data   columns: text 'words', label 'stars'",
        "Labels bad: 1, good: 2",
        "Labels were read as ids",
        "To do ",
        "Resam",
    ]
    assert sorted(map(shown.index, lines)) == [shown.index(line) for line in lines]
