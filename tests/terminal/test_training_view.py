"""The live view of a training, drawn on a terminal of its own."""

import dataclasses
import io

import pytest
from rich.console import Console

from rdrop_cli import processes
from rdrop_cli.terminal.console import Screen
from rdrop_cli.terminal.descriptions import describe_plan, say_plan
from rdrop_cli.terminal.figures import Figures
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


NAMES = ("accuracy", "f1", "roc_auc", "nll")
ENTRY = {
    "loss": 0.71234, "ce": 0.65432, "kl": 0.01234, "kl_share": 1.0, "agreement": 1.0, "learning_rate": 1.23e-4,
    "examples_per_second": 12345.0, "tokens_per_second": 1234567.0,
}  # fmt: skip


class Terminal(io.StringIO):
    def __init__(self, encoding="utf-8"):
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self):
        return self._encoding


def drawn(width, height, scores, *, metric="f1", encoding="utf-8", is_stopping=False):
    """The lines of the view after an evaluation for each score, with two log entries before each."""
    screen = Screen()
    screen.ui = Console(
        file=Terminal(encoding), force_terminal=True, width=width, height=height, color_system=None, markup=False
    )
    plan = dataclasses.replace(PLAN, epochs=100, steps=30_000, metric=metric)
    with screen.stages() as stages, LiveTraining(screen, stages) as view:
        view.plan(plan)
        for epoch, score in enumerate(scores, start=1):
            for step in (epoch * 300 - 150, epoch * 300):
                view.step(step)
                view.log({**ENTRY, "loss": 1 / step, "epoch": step / 300, "step": step})
            values = dict.fromkeys((f"validation_{name}" for name in NAMES), 0.125) | {f"validation_{metric}": score}
            view.log({**values, "epoch": float(epoch), "step": epoch * 300})
        view.evaluating(12)
        if is_stopping:
            view.stopping()
        view.live.stop()
        screen.ui.file.seek(0)
        screen.ui.file.truncate()
        screen.ui.print(view)
        return screen.ui.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(60, 12), (60, 24), (80, 12), (80, 24), (120, 24), (120, 60)])
def test_every_figure_is_whole_on_terminals_of_any_size(width, height):
    lines = drawn(width, height, [0.1 + epoch / 100 for epoch in range(40)])
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    shown = "\n".join(lines)
    assert "…" not in shown
    for figure in (
        "12000/30000", "0.0067 █", "0.0001", "CE 0.6543", "KL 0.01234", "KL share 100.0%", "passes agree 100.0%",
        "lr 1.23e-04", "12345 examples/s", "1,234,567 tokens/s", "GiB", "0.1000 ▁", "█ 0.4900", "epoch 40", "12,000",
    ):  # fmt: skip
        assert figure in shown
    assert "best" in next(line for line in lines if "epoch 40" in line)


def best_of(lines):
    return [line.split()[1] for line in lines if "best" in line]


def test_the_best_epoch_is_marked_and_kept_in_view():
    scores = [0.5, None, 0.9, 0.9, *[0.6] * 40]
    lines = drawn(80, 24, scores)
    assert best_of(lines) == ["3"], "the first of equals"
    assert "epoch 44" in lines[-1]
    assert "epoch 4 " not in "\n".join(lines)
    assert best_of(drawn(80, 24, [0.5, 0.4, 0.6], metric="nll")) == ["2"]


def test_of_epochs_with_the_same_metric_the_one_with_the_lower_nll_is_the_best_as_the_trainer_keeps_it():
    figures = Figures("f1")
    for epoch, (f1, nll) in enumerate([(0.9, 0.5), (0.9, 0.3), (0.9, 0.3), (0.8, 0.1)], start=1):
        figures.log({**dict.fromkeys(f"validation_{name}" for name in NAMES), "epoch": epoch, "step": epoch,
                     "validation_f1": f1, "validation_nll": nll})  # fmt: skip
    assert figures.best == 1


def test_an_undefined_metric_is_a_dash_and_no_best():
    lines = drawn(80, 24, [None, None], metric="roc_auc")
    assert best_of(lines) == []
    assert next(line for line in lines if line.startswith("ROC-AUC")).split() == ["ROC-AUC", "–", "–", "(validation)"]


def test_a_loss_that_is_no_number_is_a_dash():
    screen = Screen()
    screen.ui = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    row = {**ENTRY, "loss": None, "kl": None, "epoch": 1.0, "step": 2}
    for view_of in (LiveTraining, PlainTraining):
        with screen.stages() as stages, view_of(screen, stages) as view:
            view.plan(PLAN)
            view.log(row)
    assert "Loss     –\n" in screen.ui.file.getvalue()
    assert "loss –  CE 0.6543  KL –" in " ".join(screen.ui.file.getvalue().split("\n"))


def test_a_terminal_without_unicode_gets_no_curves():
    shown = "\n".join(drawn(80, 24, [0.5, 0.6, 0.7], encoding="ascii"))
    assert "F1       0.5000 -> 0.7000  (validation)" in shown
    assert shown.isascii()


def test_a_signal_is_answered_in_the_view():
    lines = drawn(60, 24, [0.5], is_stopping=True)
    assert "Stopping after this step and saving; Ctrl-C again stops at once" in " ".join(lines)


@pytest.mark.parametrize("width", [60, 80])
def test_the_plan_is_wrapped_between_words_behind_its_labels(width):
    screen = Screen()
    screen.ui = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    say_plan(screen, PLAN)
    lines = screen.ui.file.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    start = next(index for index, line in enumerate(lines) if line.startswith("Loss   R-Drop, alpha 5"))
    assert lines[start + 1].startswith("       ")
    assert "label smoothing 0.1" in " ".join(f"{lines[start]} {lines[start + 1].strip()}".split())


def test_class_weights_are_told_in_one_line_below_the_loss():
    weights = {"ham": 0.5694, "spam": 4.098}
    lines = describe_plan(dataclasses.replace(PLAN, class_weights=weights, balanced=True))
    loss = next(index for index, line in enumerate(lines) if line.startswith("Loss"))
    assert lines[loss + 1] == "       Class weights: ham 0.569, spam 4.1 (balanced)"
    assert not any("Class weights" in line for line in describe_plan(PLAN))


def test_of_many_class_weights_the_first_are_told():
    weights = {f"class{index}": 1.0 for index in range(30)}
    lines = describe_plan(dataclasses.replace(PLAN, class_weights=weights))
    assert any(
        line.endswith("class9 1 and 20 more (as given, scaled to a mean of 1 over the examples)") for line in lines
    )


@pytest.mark.parametrize(("several", "second"), [(1, True), (2, False)])
def test_what_a_second_signal_does_is_said_to_a_single_process_only(several, second, monkeypatch):
    monkeypatch.setattr(processes, "world_size", lambda: several)  # after the view was imported
    said = []
    screen = Screen()
    monkeypatch.setattr(screen, "say", said.append)
    with screen.stages() as stages, PlainTraining(screen, stages) as view:
        view.stopping()
    assert [line.endswith("; Ctrl-C again stops at once") for line in said] == [second]
