"""Run a comparison: every arm with every seed, each as an ordinary run, and none of them twice.

The run folders of the cells are FOLDER/ARM/seedN. They alone show what is done, so that a comparison can be stopped at
any point and resumed, and one with more seeds or arms trains only the new cells.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.comparison.analysis import weigh
from rdrop_cli.core.comparison.grid import Cell, CellOutcome, Grid, check_cells, load_cell
from rdrop_cli.core.comparison.observer import ComparisonObserver, ComparisonPlan
from rdrop_cli.core.comparison.plan import make_plan
from rdrop_cli.core.comparison.results import write_results
from rdrop_cli.core.comparison.training import no_results, train_cells
from rdrop_cli.core.data.class_weights import class_weights
from rdrop_cli.core.data.notes import check_rejects
from rdrop_cli.core.data.prepare import prepare_data
from rdrop_cli.core.executors.base import Job
from rdrop_cli.core.executors.in_process import InProcess
from rdrop_cli.core.executors.training import check_weights
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.storage.files import make_folder
from rdrop_cli.core.storage.lock import only_writer
from rdrop_cli.core.training.preflight import check_classes
from rdrop_cli.errors import CheckpointError, DataError, one_line

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.core.executors.base import Executor
    from rdrop_cli.errors import RDropError


@dataclass(frozen=True)
class ComparisonResult:
    """The results of a comparison.

    Attributes:
        document: The document that `rdrop compare --json` prints and results.json contains.
        files: The result files; the last one is the plot, if there is one.
        others: Finished cells in the folder that are not part of this comparison, as ARM seed N.
    """

    document: dict[str, Any]
    files: list[Path]
    others: list[str]


def compare(
    grid: Grid, observer: ComparisonObserver | None = None, executor: Executor | None = None
) -> ComparisonResult:
    """Train the missing cells, analyse all of them, and write the results.

    Args:
        grid: As `make_grid` gives it.
        observer: Receives progress.
        executor: Where cells are trained, as `make_executor` gives it; None: in this process.

    Raises:
        TrainingInterrupted: a signal stopped the comparison; the same call resumes it.
        RDropError: as `Comparison`; the hint says what to do.
    """
    observer = observer or ComparisonObserver()
    executor = executor or InProcess()
    comparison = Comparison(grid.cells, grid.folder, observer)
    with comparison.claimed(), contextlib.closing(executor):
        executor.open()
        data = comparison.prepare()
        outcomes = comparison.run(comparison.plan(data, executor), executor)
        evidence = weigh(outcomes, grid.arms[0].config.train.metric, on_progress=observer.stage)
        document, files = write_results(evidence, outcomes, grid, data)
    return ComparisonResult(document, files, comparison.others())


def plan_comparison(
    grid: Grid, observer: ComparisonObserver | None = None, executor: Executor | None = None
) -> ComparisonPlan:
    """What `compare` would do, and how long it should take. Only prepared data is written.

    Raises:
        StorageError: there is not enough disk space.
        RDropError: as `Comparison.prepare`.
    """
    executor = executor or InProcess()
    comparison = Comparison(grid.cells, grid.folder, observer)
    with contextlib.closing(executor):
        executor.open()
        return comparison.plan(comparison.prepare(), executor)


class Comparison:
    """Arms that are trained with the same seeds on the same splits.

    Args:
        cells: As `make_cells` gives them.
        folder: The folder with the cells.
        observer: Receives progress.
    """

    def __init__(self, cells: Sequence[Cell], folder: Path, observer: ComparisonObserver | None = None) -> None:
        self.cells = list(cells)
        self.folder = folder
        self.observer = observer or ComparisonObserver()
        self._done: dict[Path, CellOutcome] = {}
        self._data = ""
        self._weights: dict[tuple[str, str | None], tuple[str, str]] = {}

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the lock of the comparison's folder while the block runs.

        A new folder is removed if the block leaves no run in it.

        Raises:
            CheckpointError: another process holds the lock.
            ConfigError: the folder's content does not belong to this comparison.
            StorageError: the folder cannot be written to.
        """
        is_new = not self.folder.exists()
        make_folder(self.folder)
        with only_writer(self.folder):
            try:
                check_cells(self.cells, self.folder)  # again: another process may have changed the folder
                yield
            finally:
                if is_new and not any(cell.has_begun for cell in self.cells):
                    with contextlib.suppress(OSError):
                        shutil.rmtree(self.folder)

    def prepare(self) -> Prepared:
        """Load the data that all cells share. Finished cells are read too, to find damage before hours of training.

        Raises:
            DataError: the data has no validation or test split, one of them lacks a class, or the data has changed.
            ConfigError: an arm's class weights do not fit the data's classes.
            CheckpointError: a finished cell's results are damaged, or it began with other weights than the others.
        """
        config = self.cells[0].arm.config
        data = prepare_data(config, on_progress=self.observer.training.stage)
        check_rejects(data, config)
        counts = data.class_counts("train")
        for cell in self.cells:
            class_weights(cell.config.train.class_weights, counts)
        for split in ("validation", "test"):
            if split not in data.splits:
                raise DataError(
                    f"{config.data.source}: a comparison needs a {split} split", f"Set data.{split} above 0."
                )
            check_classes(data, split, config)
        self._data = data.fingerprint
        for cell in self.cells:
            if not cell.is_done:
                continue
            record = read_record(cell.folder)
            if record.get("fingerprint") != data.fingerprint:
                raise DataError(
                    f"{cell.folder}: the data has changed since this run was trained",
                    "Restore the old data (if an earlier version prepared it: --set data.repeats=exact), or give the"
                    " comparison another --out.",
                )
            self._check_weights(cell, record.get("model") or {})
            _check_labels(cell, self._outcome(cell), data)
        self.observer.data(data)
        return data

    def plan(self, data: Prepared, executor: Executor | None = None) -> ComparisonPlan:
        """The remaining work, with estimates of time and disk space.

        Args:
            executor: Will train them; None: this process, one after the other.

        Raises:
            StorageError: there is not enough disk space.
        """
        executor = executor or InProcess()
        observer, at_once = self.observer.training, executor.slots()
        return make_plan(self.cells, data, self.folder, observer, at_once, is_here=executor.is_here)

    def run(self, plan: ComparisonPlan, executor: Executor | None = None) -> list[CellOutcome]:
        """Train the remaining cells and return the results of all, in the order of `cells`.

        Args:
            executor: Trains them; None: this process, one after the other.

        Raises:
            TrainingInterrupted: a signal stopped the comparison; the current cell has been saved.
            RDropError: as in training, with the names of the cells that failed.
        """
        self.observer.plan(plan, self.cells)
        self._drop_leftovers(self.cells)
        if failures := self._train(plan, executor or InProcess()):
            raise no_results(failures)
        return [self._outcome(cell) for cell in self.cells]

    def others(self) -> list[str]:
        """Finished cells in the folder that are not part of this comparison, as ARM seed N."""
        here = {cell.folder for cell in self.cells}
        done = {path.parent for path in self.folder.glob(f"*/seed*/{layout.METRICS}")}
        return [f"{path.parent.name} {path.name.replace('seed', 'seed ')}" for path in sorted(done - here)]

    def train(self, cells: Sequence[Cell], executor: Executor) -> None:
        """Train those cells that have not finished on the data that `prepare` has loaded.

        Args:
            cells: They need not be among those of the comparison.

        Raises:
            TrainingInterrupted: a signal stopped the training.
            RDropError: the first failure, with the cell's name.
        """
        self._drop_leftovers(cells)
        left = [cell for cell in cells if not cell.is_done]
        failures = self._train(ComparisonPlan(left, [1.0] * len(left), 0), executor)
        for cell in cells:
            self._done.pop(cell.folder, None)  # with its predictions, which only `run` needs
        for error in failures.values():
            raise error

    def _train(self, plan: ComparisonPlan, executor: Executor) -> dict[str, RDropError]:
        return train_cells(plan, executor, self.observer, self._job, self._finish)

    def _job(self, cell: Cell) -> Job:
        first, weights = self._weights.get(_model_of(cell), (None, None))
        return Job(cell.name, cell.folder, cell.config, self._data, first, weights)

    def _finish(self, cell: Cell) -> CellOutcome:
        """Check a cell that has just been trained, and remove its checkpoints."""
        self._check_weights(cell, read_record(cell.folder).get("model") or {})
        with only_writer(cell.folder):
            _drop_checkpoints(cell, self.observer.training.notice)
        return self._outcome(cell)

    def _drop_leftovers(self, cells: Sequence[Cell]) -> None:
        """Remove the checkpoints of finished cells that were killed before doing so."""
        for cell in cells:
            if cell.is_done:
                _drop_checkpoints(cell, self.observer.training.notice)

    def _check_weights(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """Note the weights that the first cell of a model began with, and compare those of the others with them."""
        weights = record.get("weights")
        if isinstance(weights, str):  # earlier versions did not record them
            check_weights(self._job(cell), weights)
            self._weights.setdefault(_model_of(cell), (cell.name, weights))

    def _outcome(self, cell: Cell) -> CellOutcome:
        if cell.folder not in self._done:
            self._done[cell.folder] = load_cell(cell)
        return self._done[cell.folder]


def _check_labels(cell: Cell, outcome: CellOutcome, data: Prepared) -> None:
    for split, predictions in (("test", outcome.test), ("validation", outcome.validation)):
        if predictions is not None and not np.array_equal(predictions.labels, data.splits[split].labels):
            raise CheckpointError(
                f"{cell.folder}: its predictions do not match this {split} split",
                f"Delete {cell.folder} and run the same command to train it again.",
            )


def _model_of(cell: Cell) -> tuple[str, str | None]:
    return cell.config.model.name, cell.config.model.revision


def _drop_checkpoints(cell: Cell, notice: Callable[[str], None]) -> None:
    """Remove the checkpoints of a finished run, which no longer needs them: they are ten times as large as best/."""
    try:
        shutil.rmtree(cell.folder / layout.CHECKPOINTS)
    except FileNotFoundError:
        pass
    except OSError as error:  # such as of a file that another program has open
        notice(f"{cell.folder / layout.CHECKPOINTS}: cannot be removed ({one_line(error)}); it still takes up space")
