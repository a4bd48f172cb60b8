"""Train the missing cells of a comparison with an executor, and say what remains."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rdrop_cli.core.training.callbacks import StopOnSignal
from rdrop_cli.core.training.observer import Observer
from rdrop_cli.errors import ModelError, RDropError, StorageError, TrainingInterrupted

if TYPE_CHECKING:
    from pathlib import Path

    from rdrop_cli.core.comparison.grid import Cell, CellOutcome
    from rdrop_cli.core.comparison.observer import ComparisonObserver, ComparisonPlan
    from rdrop_cli.core.executors.base import Executor, Job


def train_cells(
    plan: ComparisonPlan,
    executor: Executor,
    observer: ComparisonObserver,
    job_of: Callable[[Cell], Job],
    finish: Callable[[Cell], CellOutcome],
) -> dict[str, RDropError]:
    """Train the cells of a plan, as many at a time as the executor can.

    Args:
        job_of: Makes the job of a cell when its turn has come.
        finish: Called with each cell whose run has finished; returns its results.

    Returns:
        The errors of the cells that failed, by name, if the executor trains elsewhere, where the other cells continue.

    Raises:
        TrainingInterrupted: a signal stopped the comparison.
        RDropError: a cell failed in this process.
    """
    waiting = list(plan.cells)
    if not executor.in_process:  # the longest first, so that the last ones end at about the same time
        seconds = dict(zip((cell.folder for cell in plan.cells), plan.seconds, strict=True))
        waiting.sort(key=lambda cell: -seconds[cell.folder])
    running: dict[Path, Cell] = {}
    failures: dict[str, RDropError] = {}
    pace = _Pace(plan)

    def fail(cell: Cell, error: RDropError) -> None:
        """In this process, end with the error; elsewhere, note it, as the other cells continue."""
        named = of_cell(cell, error)
        if executor.in_process:
            raise named from (None if named is error else error)
        pace.drop(cell)
        failures[cell.name] = named
        observer.failed(cell, _why(cell.name, named))

    stopper = StopOnSignal(observer.training if executor.saves else _NothingSaved(observer.training))
    with contextlib.nullcontext() if executor.in_process else stopper.listening():
        while running or (waiting and not stopper.agree()):
            while waiting and len(running) < executor.slots() and not stopper.agree():
                cell = waiting.pop(0)
                pace.begin(cell)
                observer.began(cell)
                try:
                    executor.submit(job_of(cell), observer.training_of(cell))
                except RDropError as error:
                    fail(cell, error)
                else:
                    running[cell.folder] = cell
            if stopper.agree():
                executor.cancel()
            for ended in executor.poll():
                cell = running.pop(ended.job.folder)
                if isinstance(ended.error, TrainingInterrupted) and not executor.in_process:
                    waiting.append(cell)
                    continue
                try:
                    if ended.error is not None:
                        raise ended.error
                    result = finish(cell)
                except RDropError as error:
                    fail(cell, error)
                else:
                    pace.end(cell)
                    observer.ended(result, pace.left(executor.slots()))
    if waiting or (stopper.stopping and not executor.in_process):
        done = len(plan.cells) - len(waiting) - len(failures)
        raise TrainingInterrupted(
            f"Stopped with {done} of {len(plan.cells)} runs done", "Run the same command to resume"
        )
    return failures


def of_cell(cell: Cell, error: RDropError) -> RDropError:
    """An error of a cell's training with the cell's name, and how to resume the comparison."""
    if isinstance(error, TrainingInterrupted):
        return TrainingInterrupted(f"Stopped in {cell.name} and saved", "Run the same command to resume")
    if isinstance(error, ModelError):
        return ModelError(
            f"{cell.name}: {error.message}",
            "Run the same command to resume, with --set train.micro_batch_size=auto if memory ran out. If the arm"
            f" cannot be trained with these settings, omit it, or delete {cell.folder} and change its settings.",
        )
    if isinstance(error, StorageError):
        return StorageError(f"{cell.name}: {error.message}", "Fix this and run the same command to resume.")
    return error


def no_results(failures: dict[str, RDropError]) -> RDropError:
    """The error at the end of a comparison in which cells failed, of the class of the first failure."""
    name, first = next(iter(failures.items()))
    cause = _why(name, first)
    which = f"{', '.join(failures)} failed, so there are no results yet"
    return type(first)(f"{which}: {cause}" if len(failures) == 1 else f"{which}; {name}: {cause}", first.hint)


def _why(name: str, error: RDropError) -> str:
    """An error's message without the cell's name."""
    return error.message.removeprefix(f"{name}: ")


class _NothingSaved(Observer):
    """Tells what a signal does where runs in training cannot save."""

    def __init__(self, training: Observer) -> None:
        self.training = training

    def stopping(self) -> None:
        self.training.notice("Stopping; finished runs are kept, and those in training will begin again")


class _Pace:
    """How long the remaining cells should take, by those that have finished.

    Attributes:
        spent: Seconds that whole cells took; the rest of an interrupted one does not show the pace,
            but is better than nothing where nothing was timed.
        expected: What the plan expected for them, in its unit.
    """

    def __init__(self, plan: ComparisonPlan) -> None:
        self.spent = self.expected = 0.0
        self._is_timed = plan.is_timed
        self._planned = dict(zip((cell.folder for cell in plan.cells), plan.seconds, strict=True))
        self._began: dict[Path, float] = {}

    def begin(self, cell: Cell) -> None:
        if not (cell.has_begun and self._is_timed):
            self._began[cell.folder] = time.perf_counter()

    def drop(self, cell: Cell) -> float:
        return self._planned.pop(cell.folder)

    def end(self, cell: Cell) -> None:
        seconds = self.drop(cell)
        if cell.folder in self._began:
            self.spent += time.perf_counter() - self._began[cell.folder]
            self.expected += seconds

    def left(self, slots: int) -> float:
        pace = self.spent / self.expected if self.expected else 1.0
        return pace * sum(self._planned.values()) / max(1, min(slots, len(self._planned)))
