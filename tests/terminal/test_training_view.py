"""The live view of a training, drawn on a terminal of its own."""

import io

import pytest
from rich.console import Console

from rdrop_cli import processes
from rdrop_cli.terminal.console import Screen
from rdrop_cli.terminal.training_view import LiveTraining, PlainTraining
from training_runs import PLAN


def test_the_view_has_losses_a_row_for_each_evaluation_and_leaves_the_terminal_tidy():
    buffer = io.StringIO()
    screen = Screen()
    screen.ui = Console(file=buffer, force_terminal=True, width=120, color_system=None, markup=False)
    with screen.stages() as stages, LiveTraining(screen, stages) as view:
        view.plan(PLAN)
        for step in (1, 2):
            view.step(step)
            row = {"loss": 0.7, "ce": 0.6, "kl": 0.02, "kl_share": 0.14, "agreement": 0.9, "learning_rate": 1e-4}
            view.log({**row, "epoch": step / 2, "step": step})
            view.live.refresh()  # as its own thread does four times a second
        view.evaluating(1)
        names = ("accuracy", "f1", "roc_auc", "nll")
        view.log({**{f"validation_{name}": 0.5 for name in names}, "epoch": 1.0, "step": 2})
        view.live.refresh()
        view.stopping()
        view.stage("Evaluating test", 2, 2)
    shown = buffer.getvalue()
    assert "4 in 2 epochs, 4 examples each in micro-batches of 2" in shown
    assert "[red]data[/]\\x1b[31m" in shown
    assert "CE 0.6000  KL 0.02000  KL share 14.0%  passes agree 90.0%" in shown
    assert "│ epoch 1    │    2 │   0.5000" in shown
    assert "Stopping after this step and saving" in shown
    assert "Trained" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is shown again"


@pytest.mark.parametrize(("several", "second"), [(1, True), (2, False)])
def test_what_a_second_signal_does_is_said_to_a_single_process_only(several, second, monkeypatch):
    monkeypatch.setattr(processes, "world_size", lambda: several)  # after the view was imported
    said = []
    screen = Screen()
    monkeypatch.setattr(screen, "say", said.append)
    with screen.stages() as stages, PlainTraining(screen, stages) as view:
        view.stopping()
    assert [line.endswith("; Ctrl-C again stops at once") for line in said] == [second]
