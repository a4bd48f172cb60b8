"""A comparison as it goes: a live view on a terminal, a line for each run in a pipe.

Both show validation only: who looks at test half-way is tempted to stop when it looks good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from rdrop_cli.core.comparison.arms import Arm, shown_settings
from rdrop_cli.core.comparison.observer import ComparisonObserver, ComparisonPlan
from rdrop_cli.core.metrics.bootstrap import METRICS
from rdrop_cli.core.metrics.classification import TITLES
from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.core.training.observer import Observer
from rdrop_cli.core.training.observer import TrainingPlan as TrainingPlan
from rdrop_cli.terminal.console import Screen, Stages, add_row, count, duration, safe, size, table
from rdrop_cli.terminal.training_view import describe_log, describe_micro_batch, describe_stopping, say_data

if TYPE_CHECKING:
    from rich.table import Table

    from rdrop_cli.core.comparison.grid import Cell, CellResult
    from rdrop_cli.core.data.dataset import Prepared

SHOWN = {name: TITLES[name] for name in METRICS}


@contextmanager
def comparison_observer(screen: Screen, stages: Stages) -> Iterator[ComparisonObserver]:
    """The view that fits where the screen is; the terminal is left as it was, whatever happens."""
    if screen.quiet:
        yield ComparisonObserver()
        return
    observer = LiveComparison(screen, stages) if screen.is_live else PlainComparison(screen, stages)
    try:
        yield observer
    finally:
        observer.close()


def describe_plan(plan: ComparisonPlan, cells: Sequence[Cell]) -> list[str]:
    """What is going to happen, in a few lines."""
    arms = list({cell.arm.name: cell.arm for cell in cells}.values())
    seeds = list(dict.fromkeys(cell.seed for cell in cells))
    config = cells[0].config
    spread = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    done = len(cells) - len(plan.cells)
    lines = [
        *(f"{'Arms' if arm is arms[0] else '':<6} {arm.name}: {describe_settings(arm, arms)}" for arm in arms),
        f"Runs   {count(len(cells), 'run')}: {count(len(arms), 'arm')}, {spread}" + (f"; {done} done" if done else ""),
        f"Best   by validation {config.train.metric}; the test split is opened once a run",
    ]
    if len(seeds) == 1:
        lines.append("Note   one seed shows nothing, as there is no spread to judge by: use --seeds 5 or more")
    if plan.cells:
        total, disk = duration(sum(plan.seconds)), size(plan.disk)
        lines.append(f"Left   {count(len(plan.cells), 'run')}, about {total}; disk {disk} at most")
    else:
        lines.append("Left   nothing to train: every run is done")
    return lines


def describe_settings(arm: Arm, arms: Sequence[Arm]) -> str:
    """R-Drop's settings of an arm and those in which arms differ, in a few words."""
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in shown_settings(arm, arms).items())


class PlainComparison(ComparisonObserver):
    """Lines that a log file keeps."""

    training: _QuietTraining

    def __init__(self, screen: Screen, stages: Stages) -> None:
        self.screen = screen
        self.stages = stages
        self.training = _QuietTraining(screen, stages)
        self._cells: list[Cell] = []

    def data(self, data: Prepared) -> None:
        say_data(self.screen, data)

    def stage(self, name: str, done: int, total: int | None) -> None:
        self.stages.update(name, done, total)

    def began(self, cell: Cell) -> None:
        self.training.cell = cell.name

    def plan(self, plan: ComparisonPlan, cells: Sequence[Cell]) -> None:
        self.training.has_begun = True
        self._cells = list(cells)
        for line in describe_plan(plan, cells):
            self.screen.say(line)

    def ended(self, result: CellResult, seconds_left: float) -> None:
        done = sum(cell.is_done for cell in self._cells)
        metrics = result.metrics["validation"]
        values = "  ".join(f"{title} {number(metrics[name])}" for name, title in SHOWN.items())
        left = f", about {duration(seconds_left)} left" if seconds_left else ""
        self.screen.say(
            f"[{done}/{len(self._cells)}] {result.arm} seed {result.seed}  validation: {values}"
            f"  ({duration(result.cost['seconds'])}{left})"
        )

    def close(self) -> None:
        """Nothing was changed."""


class _QuietTraining(Observer):
    """Of a cell's training says only what must be known."""

    def __init__(self, screen: Screen, stages: Stages) -> None:
        self.screen = screen
        self.stages = stages
        self.has_begun = False
        self.cell = ""

    def stage(self, name: str, done: int, total: int | None) -> None:
        if not self.has_begun:
            self.stages.update(name, done, total)

    def plan(self, plan: TrainingPlan) -> None:
        if plan.first_step:
            self.screen.say(f"{self.cell} resumes at step {plan.first_step:,} of {plan.steps:,}")

    def micro_batch(self, size: int) -> None:
        self.screen.say(describe_micro_batch(size))

    def notice(self, message: str) -> None:
        self.screen.say(_named(self.cell, message), style="yellow")

    def stopping(self) -> None:
        self.screen.say(describe_stopping())


class LiveComparison(ComparisonObserver):
    """A view redrawn in place: all runs and this one, its newest losses, and a row for each arm."""

    training: _LiveTraining

    def __init__(self, screen: Screen, stages: Stages) -> None:
        self.screen = screen
        self.stages = stages
        self.training = _LiveTraining(self)
        self.newest = Text("")
        self._runs = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=screen.ui,
        )
        self.steps = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), console=screen.ui
        )
        self.live: Live | None = None
        self._cells: list[Cell] = []
        self._results: list[CellResult] = []

    def data(self, data: Prepared) -> None:
        say_data(self.screen, data)

    def stage(self, name: str, done: int, total: int | None) -> None:
        self.stages.update(name, done, total)

    def plan(self, plan: ComparisonPlan, cells: Sequence[Cell]) -> None:
        self.stages.close()
        self._cells = list(cells)
        for line in describe_plan(plan, cells):
            self.screen.say(line)
        if not plan.cells:
            self.stages.open()
            return
        self._seconds = list(plan.seconds)
        self._left = sum(plan.seconds)
        self._run = self._runs.add_task("Runs", total=len(cells), left="")
        self.advanced(0.0)
        self.step = self.steps.add_task("", total=None)
        self.live = Live(self.view(), console=self.screen.ui, refresh_per_second=4)

    def began(self, cell: Cell) -> None:
        self.newest = Text("")
        self.training.cell = cell.name
        self.steps.reset(self.step, description=cell.name, total=None)
        if self.live is not None:
            self.live.start()

    def ended(self, result: CellResult, seconds_left: float) -> None:
        self._results.append(result)
        self._seconds.pop(0)
        self._left = seconds_left
        self.advanced(0.0)
        self.redraw()
        if not seconds_left:
            self.close()
            self.stages.open()

    def advanced(self, share: float) -> None:
        """A share of this cell's steps is done."""
        this = self._left * self._seconds[0] / sum(self._seconds) if self._seconds else 0.0
        left = self._left - share * this
        done = len(self._cells) - len(self._seconds) + share
        self._runs.update(self._run, completed=done, left=f"about {duration(left)} left" if left else "")

    def redraw(self) -> None:
        """Show what has changed."""
        if self.live is not None:
            self.live.update(self.view())

    def view(self) -> Group:
        """All there is to see."""
        parts: list[Any] = [self._runs, self.steps, self.newest]
        if self._results:
            parts += [Text("Validation, means of the runs of this session", style="bold"), self._table()]
        return Group(*parts)

    def _table(self) -> Table:
        shown = table("arm", "runs", *SHOWN.values(), "time a run")
        for arm in dict.fromkeys(cell.arm.name for cell in self._cells):
            results = [result for result in self._results if result.arm == arm]
            done = sum(cell.is_done for cell in self._cells if cell.arm.name == arm)
            of = sum(cell.arm.name == arm for cell in self._cells)
            means = [_mean([result.metrics["validation"][name] for result in results]) for name in SHOWN]
            seconds = _mean([result.cost["seconds"] for result in results])
            time = "–" if seconds is None else duration(seconds)
            add_row(shown, arm, f"{done}/{of}", *(number(mean) for mean in means), time)
        return shown

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.live is not None:
            self.live.stop()
            self.live = None


class _LiveTraining(Observer):
    """A cell's training in its comparison's view."""

    def __init__(self, view: LiveComparison) -> None:
        self.view = view
        self.cell = ""
        self._steps = 1

    def stage(self, name: str, done: int, total: int | None) -> None:
        if self.view.live is None:
            self.view.stages.update(name, done, total)
        else:
            self._describe(name)

    def plan(self, plan: TrainingPlan) -> None:
        self._steps = plan.steps
        self.view.steps.update(self.view.step, total=plan.steps, completed=plan.first_step)

    def step(self, step: int) -> None:
        self.view.steps.update(self.view.step, completed=step, description=safe(self.cell))
        self.view.advanced(step / self._steps)

    def evaluating(self, done: int) -> None:
        self._describe("validation" if done else "saving")

    def log(self, row: Mapping[str, Any]) -> None:
        if "loss" in row:
            self.view.newest = Text(safe(describe_log(row)), no_wrap=True, overflow="ellipsis")
            self.view.redraw()

    def micro_batch(self, size: int) -> None:
        self.view.screen.say(describe_micro_batch(size))

    def notice(self, message: str) -> None:
        self.view.screen.say(_named(self.cell, message), style="yellow")

    def stopping(self) -> None:
        self.view.newest = Text(describe_stopping(), style="yellow")
        self.view.redraw()

    def _describe(self, what: str) -> None:
        self.view.steps.update(self.view.step, description=safe(f"{self.cell}: {what}"))


def _named(cell: str, message: str) -> str:
    """With the cell that it is about; before the first one begins there is none."""
    return f"{cell}: {message}" if cell else message


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
