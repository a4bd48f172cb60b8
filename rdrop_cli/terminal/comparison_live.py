"""A comparison on a terminal: a view redrawn in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.live import Live
from rich.progress import MofNCompleteColumn
from rich.text import Text

from rdrop_cli.core.comparison.observer import ComparisonObserver, ComparisonPlan
from rdrop_cli.core.metrics.bootstrap import METRICS
from rdrop_cli.core.metrics.classification import TITLES
from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.core.training.observer import Observer, TrainingPlan
from rdrop_cli.terminal.comparison_plan import named, say_plan
from rdrop_cli.terminal.console import WIDE, Screen, add_row, duration, safe, table, without_frame
from rdrop_cli.terminal.descriptions import describe_micro_batch, say_data
from rdrop_cli.terminal.figures import Figures, stopping_rows
from rdrop_cli.terminal.stages import Stages, progress

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

    from rdrop_cli.core.comparison.grid import Cell, CellResult
    from rdrop_cli.core.data.dataset import Prepared

SHOWN = {name: TITLES[name] for name in METRICS}


class LiveComparison(ComparisonObserver):
    """All runs and this one, its newest figures, and a row for each arm.

    It asks for the terminal's size each time it is drawn, so the terminal may be resized.
    """

    training: _LiveTraining

    def __init__(self, screen: Screen, stages: Stages) -> None:
        self.screen = screen
        self.stages = stages
        self.training = _LiveTraining(self)
        self.figures = Figures("f1")
        self.is_stopping = False
        self._runs = progress(screen.ui, MofNCompleteColumn, "{task.fields[left]}")
        self.steps = progress(screen.ui, MofNCompleteColumn)
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
        say_plan(self.screen, plan, cells)
        if not plan.cells:
            self.stages.open()
            return
        self._seconds = list(plan.seconds)
        self._left = sum(plan.seconds)
        self._run = self._runs.add_task("Runs", total=len(cells), left="")
        self.advanced(0.0)
        self.step = self.steps.add_task("", total=None)
        self.live = Live(self, console=self.screen.ui, refresh_per_second=4)

    def began(self, cell: Cell) -> None:
        self.figures = Figures(cell.config.train.metric)
        self.training.cell = cell.name
        self.steps.reset(self.step, description=safe(cell.name), total=None)
        if self.live is not None:
            self.live.start()

    def ended(self, result: CellResult, seconds_left: float) -> None:
        self._results.append(result)
        self._seconds.pop(0)
        self._left = seconds_left
        self.advanced(0.0)
        if not seconds_left:
            self.close()
            self.stages.open()

    def advanced(self, share: float) -> None:
        """A share of this cell's steps is done."""
        this = self._left * self._seconds[0] / sum(self._seconds) if self._seconds else 0.0
        left = self._left - share * this
        done = len(self._cells) - len(self._seconds) + share
        self._runs.update(self._run, completed=done, left=f"about {duration(left)} left" if left else "")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """All there is to see, in as many lines as the terminal has."""
        yield self._runs
        yield self.steps
        rows = self.figures.rows(options)
        if self.is_stopping:
            rows = [*stopping_rows(options), *rows]
        arms = self._table() if self._results else None
        room = console.height - 3  # two bars, and a line to spare
        if arms is None:
            yield from rows[:room]
            return
        yield from rows[: max(room - arms.row_count - 2, 1)]
        has_room = room >= len(rows) + arms.row_count + 5
        yield Text("Validation, means of the runs of this session", style="bold", no_wrap=True)
        yield arms if has_room and console.width >= WIDE else without_frame(arms, console)

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
        self.view.figures.log(row)

    def micro_batch(self, size: int) -> None:
        self.view.screen.say(describe_micro_batch(size), style="yellow")

    def notice(self, message: str) -> None:
        self.view.screen.say(named(self.cell, message), style="yellow")

    def stopping(self) -> None:
        self.view.is_stopping = True

    def _describe(self, what: str) -> None:
        self.view.steps.update(self.view.step, description=safe(f"{self.cell}: {what}"))


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
