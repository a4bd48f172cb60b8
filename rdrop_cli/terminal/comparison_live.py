"""A comparison on a terminal: a view redrawn in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.live import Live
from rich.progress import MofNCompleteColumn, TaskID
from rich.text import Text

from rdrop_cli.core.comparison.observer import ComparisonObserver, ComparisonPlan
from rdrop_cli.core.metrics.bootstrap import METRICS
from rdrop_cli.core.metrics.classification import TITLES
from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.core.training.observer import Observer, TrainingPlan
from rdrop_cli.terminal.comparison_plan import named, say_plan
from rdrop_cli.terminal.console import WIDE, Screen, add_row, safe, table, without_frame
from rdrop_cli.terminal.descriptions import describe_micro_batch, say_data
from rdrop_cli.terminal.figures import Figures, stopping_rows
from rdrop_cli.terminal.stages import Stages, progress
from rdrop_cli.wording import duration

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

    from rdrop_cli.core.comparison.grid import Cell, CellOutcome
    from rdrop_cli.core.data.dataset import Prepared

NO_BAR = TaskID(-1)
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
        self._results: list[CellOutcome] = []
        self._running: dict[Path, _LiveTraining] = {}
        self._last: TaskID | None = None

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
        self._seconds = dict(zip((cell.folder for cell in plan.cells), plan.seconds, strict=True))
        self._left = plan.total or 0.0
        self._run = self._runs.add_task("Runs", total=len(cells), left="")
        self.advanced()
        self.live = Live(self, console=self.screen.ui, refresh_per_second=4)

    def began(self, cell: Cell) -> None:
        self.figures = Figures(cell.config.train.metric)
        self._clear_last()
        bar = self.steps.add_task(safe(cell.name), total=None)
        self.training = self._running[cell.folder] = _LiveTraining(self, cell.name, bar, self.figures)
        if self.live is not None:
            self.live.start()

    def ended(self, result: CellOutcome, seconds_left: float) -> None:
        self._results.append(result)
        self._left = seconds_left
        self._remove(result.folder)
        if not seconds_left:
            self.close()
            self.stages.open()

    def failed(self, cell: Cell, why: str) -> None:
        self._remove(cell.folder)
        self.screen.say(named(cell.name, why), style="red")

    def _remove(self, folder: Path) -> None:
        self._last = self._running.pop(folder).bar
        self._seconds.pop(folder)
        if self._running:
            self._clear_last()
            self.figures = list(self._running.values())[-1].figures
        self.advanced()

    def _clear_last(self) -> None:
        """Remove the bar of the cell that ended last; it is shown until another one is."""
        if self._last is not None:
            self.steps.remove_task(self._last)
            self._last = None

    def advanced(self) -> None:
        """Some of the steps of the cells in training are done."""
        total = sum(self._seconds.values())
        shares = {folder: training.share for folder, training in self._running.items()}
        spent = sum(self._left * share * self._seconds[folder] / total for folder, share in shares.items() if total)
        left = self._left - spent
        done = len(self._cells) - len(self._seconds) + sum(shares.values())
        self._runs.update(self._run, completed=done, left=f"about {duration(left)} left" if left else "")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """All there is to see, in as many lines as the terminal has."""
        bars = self._fit_bars(console.height)
        yield self._runs
        yield self.steps
        rows = self.figures.rows(options) if len(self._running) < 2 else []
        if self.is_stopping:
            rows = [*stopping_rows(options), *rows]
        arms = self._table() if self._results else None
        room = console.height - bars - 2  # the bar of all runs, and a line to spare
        if arms is None:
            yield from rows[:room]
            return
        yield from rows[: max(room - arms.row_count - 2, 1)]
        has_room = room >= len(rows) + arms.row_count + 5
        yield Text("Validation, means of the runs of this session", style="bold", no_wrap=True)
        yield arms if has_room and console.width >= WIDE else without_frame(arms, console)

    def _fit_bars(self, height: int) -> int:
        """Show the bars of the cells in training, on at most a third of the terminal, and return how many."""
        bars = [training.bar for training in self._running.values()]
        room = max(1, height // 3)
        for index, bar in enumerate(bars):
            self.steps.update(bar, visible=index < room)
        return max(1, min(len(bars), room))

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
    """A cell's training in its comparison's view; without a cell, what comes before the first."""

    def __init__(
        self, view: LiveComparison, cell: str = "", bar: TaskID = NO_BAR, figures: Figures | None = None
    ) -> None:
        self.view = view
        self._name = self.cell = cell
        self.bar = bar
        self.figures = figures or Figures("f1")
        self.share = 0.0
        self._steps = 1

    def place(self, machine: str) -> None:
        self.cell = f"{self._name} on {machine}"
        self._describe("starting")

    def stage(self, name: str, done: int, total: int | None) -> None:
        if self.view.live is None:
            self.view.stages.update(name, done, total)
        else:
            self._describe(name)

    def plan(self, plan: TrainingPlan) -> None:
        self._steps = plan.steps
        self.view.steps.update(self.bar, total=plan.steps, completed=plan.first_step)

    def step(self, step: int) -> None:
        self.view.steps.update(self.bar, completed=step, description=safe(self.cell))
        self.share = step / self._steps
        self.view.advanced()

    def evaluating(self, done: int) -> None:
        self._describe("validation" if done else "saving")

    def log(self, row: Mapping[str, Any]) -> None:
        self.figures.log(row)

    def micro_batch(self, size: int) -> None:
        self.view.screen.say(named(self.cell, describe_micro_batch(size)), style="yellow")

    def notice(self, message: str) -> None:
        self.view.screen.say(named(self.cell, message), style="yellow")

    def stopping(self) -> None:
        self.view.is_stopping = True

    def _describe(self, what: str) -> None:
        self.view.steps.update(self.bar, description=safe(f"{self.cell}: {what}"))


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
