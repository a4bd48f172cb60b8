"""A comparison as it goes: a live view on a terminal, a line for each run in a pipe.

Both show validation only: who looks at test half-way is tempted to stop when it looks good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rdrop_cli.core.comparison.observer import ComparisonObserver, ComparisonPlan
from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.core.training.observer import Observer, TrainingPlan
from rdrop_cli.terminal.comparison_live import SHOWN, LiveComparison
from rdrop_cli.terminal.comparison_plan import named, say_plan
from rdrop_cli.terminal.descriptions import describe_micro_batch, describe_stopping, say_data
from rdrop_cli.wording import duration

if TYPE_CHECKING:
    from rdrop_cli.core.comparison.grid import Cell, CellOutcome
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.terminal.console import Screen
    from rdrop_cli.terminal.stages import Stages


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


class PlainComparison(ComparisonObserver):
    """Lines that a log file keeps."""

    training: _QuietTraining

    def __init__(self, screen: Screen, stages: Stages) -> None:
        self.screen = screen
        self.stages = stages
        self.training = _QuietTraining(screen, stages)
        self._cells: list[Cell] = []
        self._several = False
        self._left = 0

    def data(self, data: Prepared) -> None:
        say_data(self.screen, data)

    def stage(self, name: str, done: int, total: int | None) -> None:
        self.stages.update(name, done, total)

    def began(self, cell: Cell) -> None:
        self.training = _QuietTraining(self.screen, self.stages, cell.name)
        if self._several:
            self.screen.say(f"{cell.name} begins")

    def failed(self, cell: Cell, why: str) -> None:
        self.screen.say(named(cell.name, why), style="red")

    def plan(self, plan: ComparisonPlan, cells: Sequence[Cell]) -> None:
        self.training.has_begun = True
        self._cells = list(cells)
        self._several = plan.at_once > 1
        self._left = len(plan.cells)
        say_plan(self.screen, plan, cells)

    def ended(self, result: CellOutcome, seconds_left: float) -> None:
        self._left -= 1
        done = len(self._cells) - self._left
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

    def __init__(self, screen: Screen, stages: Stages, cell: str = "") -> None:
        self.screen = screen
        self.stages = stages
        self.has_begun = bool(cell)
        self.cell = cell

    def place(self, machine: str) -> None:
        self.screen.say(f"{self.cell} is trained on {machine}")

    def stage(self, name: str, done: int, total: int | None) -> None:
        if not self.has_begun:
            self.stages.update(name, done, total)

    def plan(self, plan: TrainingPlan) -> None:
        if plan.first_step:
            self.screen.say(f"{self.cell} resumes at step {plan.first_step:,} of {plan.steps:,}")

    def micro_batch(self, size: int) -> None:
        self.screen.say(named(self.cell, describe_micro_batch(size)))

    def notice(self, message: str) -> None:
        self.screen.say(named(self.cell, message), style="yellow")

    def stopping(self) -> None:
        self.screen.say(describe_stopping())
