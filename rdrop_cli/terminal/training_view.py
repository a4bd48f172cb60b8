"""A training as it goes: a live view on a terminal, plain lines in a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from rdrop_cli import processes
from rdrop_cli.core.data.audit import class_balance
from rdrop_cli.core.data.columns import in_words
from rdrop_cli.core.data.prepare import data_notes
from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.core.model.device import device_in_use, peak_memory
from rdrop_cli.core.training.observer import Observer, TrainingPlan
from rdrop_cli.terminal.console import Screen, Stages, add_row, safe, table

if TYPE_CHECKING:
    from rich.table import Table

    from rdrop_cli.core.data.dataset import Prepared

_CLASSES = 10
"""Classes that the plan names."""


def training_observer(screen: Screen, stages: Stages) -> Observer:
    """The view that fits where the screen is."""
    if screen.quiet:
        return Observer()
    return LiveTraining(screen, stages) if screen.is_live else PlainTraining(screen, stages)


def describe_plan(plan: TrainingPlan) -> list[str]:
    """The plan in a few lines."""
    counts = ", ".join(f"{name} {count:,}" for name, count in plan.examples.items())
    if plan.alpha:
        paper = plan.alpha * (2 if plan.ce_reduction == "mean" else 1)
        loss = f"R-Drop, alpha {plan.alpha:g} (cross-entropy {plan.ce_reduction}; the paper's alpha {paper:g})"
    else:
        loss = "plain fine-tuning (alpha 0, one pass)"
    micro = _micro_batches(plan)
    lines = [
        f"Model  {plan.model}, {plan.parameters / 1e6:.1f} M parameters, on {plan.device}, {plan.precision}",
        f"Data   {plan.data}: {counts}; columns: {in_words(plan.columns)}",
        f"Labels {describe_classes(plan.classes)}",
        f"Loss   {loss}, label smoothing {plan.label_smoothing:g}",
        f"Steps  {plan.steps:,} in {plan.epochs} epochs, {plan.batch_size} examples each{micro}",
        f"Best   by validation {plan.metric}; the test split is opened once, at the end",
        f"Run    {plan.run}",
    ]
    if plan.first_step:
        lines.append(f"Resuming from step {plan.first_step:,}")
    return lines


def say_plan(screen: Screen, plan: TrainingPlan) -> None:
    """Show the plan, and what was inferred of the data or left out of it."""
    for line in describe_plan(plan):
        screen.say(line)
    for line in plan.data_notes:
        screen.say(line, style="yellow")


def say_data(screen: Screen, data: Prepared) -> None:
    """Show the data of several trainings, before the first of them begins."""
    classes = class_balance(data.splits["train"].labels.tolist(), data.labels)
    screen.say(f"Data   columns: {in_words(data.columns)}")
    screen.say(f"Labels {describe_classes(classes)}")
    for note in data_notes(data):
        screen.say(note, style="yellow")


def describe_classes(classes: Mapping[str, int]) -> str:
    """The classes with their training examples, and which one the metrics are about.

    Args:
        classes: Training examples by class, in the order of the ids.
    """
    names = list(classes)
    shown = ", ".join(f"{name} {classes[name]:,}" for name in names[:_CLASSES])
    more = f" and {len(names) - _CLASSES:,} more" if len(names) > _CLASSES else ""
    if len(names) == 2:
        about = f"F1 is about {names[1]!r}, the second (data.positive_label chooses)"
    else:
        about = f"F1 is the macro average of {len(names)} classes"
    return f"{shown}{more}; {about}"


def _micro_batches(plan: TrainingPlan) -> str:
    if plan.micro_batch_size == "auto":
        return ", divided further if memory runs out"
    return f" in micro-batches of {plan.micro_batch_size}" if plan.micro_batch_size else ""


def describe_log(row: Mapping[str, Any]) -> str:
    """A training log entry in one line."""
    parts = [f"loss {row['loss']:.4f}", f"CE {row['ce']:.4f}"]
    if "kl" in row:
        parts += [f"KL {row['kl']:.5f}", f"KL share {row['kl_share']:.1%}"]
        parts.append(f"passes agree {row['agreement']:.1%}")
    parts.append(f"lr {row['learning_rate']:.2e}")
    if "examples_per_second" in row:
        parts += [f"{row['examples_per_second']:.0f} examples/s", f"{row['tokens_per_second']:,.0f} tokens/s"]
    parts.append(f"memory {peak_memory(device_in_use()) / 2**30:.1f} GiB")
    return "  ".join(parts)


EVALUATION = {
    "validation_accuracy": "accuracy",
    "validation_f1": "F1",
    "validation_roc_auc": "ROC-AUC",
    "validation_nll": "NLL",
}


def describe_stopping() -> str:
    """What a first signal does, and a second one; to one of several processes that is nothing special."""
    return "Stopping after this step and saving" + ("; once more ends at once" if processes.world_size() == 1 else "")


def describe_micro_batch(size: int) -> str:
    """What happened when the memory ran out."""
    return f"Out of memory: continuing with micro-batches of {size}, same result"


class PlainTraining(Observer):
    """Lines that a log file keeps."""

    def __init__(self, screen: Screen, stages: Stages) -> None:
        self.screen = screen
        self.stages = stages
        self._steps = 0

    def stage(self, name: str, done: int, total: int | None) -> None:
        self.stages.update(name, done, total)

    def plan(self, plan: TrainingPlan) -> None:
        self._steps = plan.steps
        say_plan(self.screen, plan)

    def micro_batch(self, size: int) -> None:
        self.screen.say(describe_micro_batch(size))

    def notice(self, message: str) -> None:
        self.screen.say(message, style="yellow")

    def stopping(self) -> None:
        self.screen.say(describe_stopping())

    def log(self, row: Mapping[str, Any]) -> None:
        where = f"epoch {row['epoch']:.2f}  step {row['step']:,}/{self._steps:,}"
        if "loss" in row:
            self.screen.say(f"{where}  {describe_log(row)}")
        else:
            values = "  ".join(f"{title} {number(row[name])}" for name, title in EVALUATION.items())
            self.screen.say(f"{where}  validation: {values}")


class LiveTraining(Observer):
    """A view redrawn in place: steps with the time left, the newest losses, a row for each evaluation."""

    def __init__(self, screen: Screen, stages: Stages) -> None:
        self.screen = screen
        self.stages = stages
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left", markup=False),
            TimeRemainingColumn(),
            console=screen.ui,
        )
        self._newest = Text("")
        self._table: Table = table("epoch", "step", *EVALUATION.values())
        self._live: Live | None = None
        self._epoch_steps = 1
        self._epochs = 1

    def stage(self, name: str, done: int, total: int | None) -> None:
        self._close()
        self.stages.update(name, done, total)

    def plan(self, plan: TrainingPlan) -> None:
        self.stages.close()
        say_plan(self.screen, plan)
        self._epochs, self._epoch_steps = plan.epochs, plan.steps // plan.epochs
        self._task = self._progress.add_task("Training", total=plan.steps, completed=plan.first_step)
        self._live = Live(self._view(), console=self.screen.ui, refresh_per_second=4)
        self._live.start()

    def step(self, step: int) -> None:
        epoch = min((step - 1) // self._epoch_steps + 1, self._epochs)
        self._progress.update(self._task, completed=step, description=f"Epoch {epoch}/{self._epochs}")

    def micro_batch(self, size: int) -> None:
        self.screen.say(describe_micro_batch(size))

    def notice(self, message: str) -> None:
        self.screen.say(message, style="yellow")

    def stopping(self) -> None:
        self._newest = Text(describe_stopping(), style="yellow")
        if self._live is not None:
            self._live.update(self._view())

    def evaluating(self, done: int) -> None:
        text = f"Evaluating, batch {done}" if done else "Saving"
        self._progress.update(self._task, description=text)

    def log(self, row: Mapping[str, Any]) -> None:
        if "loss" in row:
            self._newest = Text(safe(describe_log(row)), no_wrap=True, overflow="ellipsis")
        else:
            cells = [number(row[name]) for name in EVALUATION]
            add_row(self._table, f"{row['epoch']:.0f}", f"{row['step']:,}", *cells)
        if self._live is not None:
            self._live.update(self._view())

    def _view(self) -> Group:
        if self._table.row_count:
            return Group(self._progress, self._newest, Text("Validation", style="bold"), self._table)
        return Group(self._progress, self._newest)

    def _close(self) -> None:
        if self._live is not None:
            self._progress.update(self._task, description="Trained")
            self._live.stop()
            self._live = None
            self.stages.open()

    def close(self) -> None:
        """Leave the terminal as it was, whatever happened."""
        if self._live is not None:
            self._live.stop()
            self._live = None
