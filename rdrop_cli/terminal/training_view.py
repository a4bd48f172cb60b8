"""A training as it goes: a live view on a terminal, plain lines in a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.progress import MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn

from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.core.training.observer import Observer, TrainingPlan
from rdrop_cli.terminal.descriptions import describe_log, describe_micro_batch, describe_stopping, say_plan
from rdrop_cli.terminal.figures import EVALUATION, Figures, stopping_rows
from rdrop_cli.terminal.stages import Stages, progress

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from rdrop_cli.terminal.console import Screen


def training_observer(screen: Screen, stages: Stages) -> Observer:
    """The view that fits where the screen is."""
    if screen.quiet:
        return Observer()
    return LiveTraining(screen, stages) if screen.is_live else PlainTraining(screen, stages)


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
    """A view redrawn in place: steps with the time left, the newest figures, a row for each evaluation.

    It asks for the terminal's size each time it is drawn, so the terminal may be resized.
    """

    def __init__(self, screen: Screen, stages: Stages) -> None:
        self.screen = screen
        self.stages = stages
        self.figures = Figures("f1")
        self.live: Live | None = None
        self._progress = progress(screen.ui, MofNCompleteColumn, TimeElapsedColumn, "left", TimeRemainingColumn)
        self._stopping = False
        self._epoch_steps = 1
        self._epochs = 1

    def stage(self, name: str, done: int, total: int | None) -> None:
        self._close()
        self.stages.update(name, done, total)

    def plan(self, plan: TrainingPlan) -> None:
        self.stages.close()
        say_plan(self.screen, plan)
        self.figures = Figures(plan.metric)
        self._epochs, self._epoch_steps = plan.epochs, plan.steps // plan.epochs
        self._task = self._progress.add_task("Training", total=plan.steps, completed=plan.first_step)
        self.live = Live(self, console=self.screen.ui, refresh_per_second=4)
        self.live.start()

    def step(self, step: int) -> None:
        epoch = min((step - 1) // self._epoch_steps + 1, self._epochs)
        self._progress.update(self._task, completed=step, description=f"Epoch {epoch}/{self._epochs}")

    def micro_batch(self, size: int) -> None:
        self.screen.say(describe_micro_batch(size), style="yellow")

    def notice(self, message: str) -> None:
        self.screen.say(message, style="yellow")

    def stopping(self) -> None:
        self._stopping = True

    def evaluating(self, done: int) -> None:
        text = f"Evaluating, batch {done}" if done else "Saving"
        self._progress.update(self._task, description=text)

    def log(self, row: Mapping[str, Any]) -> None:
        self.figures.log(row)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """All there is to see, in as many lines as the terminal has."""
        yield self._progress
        rows = self.figures.rows(options)
        if self._stopping:
            rows += stopping_rows(options)
        yield from rows
        table = self.figures.table(console, console.height - len(rows) - 2)
        if table is not None:
            yield table

    def _close(self) -> None:
        if self.live is not None:
            self._progress.update(self._task, description="Trained")
            self.close()
            self.stages.open()

    def close(self) -> None:
        """Leave the terminal as it was, whatever happened."""
        if self.live is not None:
            self.live.stop()
            self.live = None
