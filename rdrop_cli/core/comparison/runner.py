"""A comparison: every arm with every seed, each an ordinary run, none of them trained twice.

The cells of a comparison stand in FOLDER/ARM/seedN. What is done is known by the run folders alone, so a comparison
that was stopped anywhere resumes, and one with more seeds or arms trains only what is new.
"""

from __future__ import annotations

import contextlib
import gc
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.comparison.analysis import weigh
from rdrop_cli.core.comparison.grid import Cell, CellResult, Grid, check_cells, load_cell
from rdrop_cli.core.comparison.observer import ComparisonObserver, ComparisonPlan
from rdrop_cli.core.comparison.plan import make_plan
from rdrop_cli.core.comparison.results import write_results
from rdrop_cli.core.data.prepare import check_rejects, prepare_data
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.claim import claim_run
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.runs.resolve import as_recorded
from rdrop_cli.core.storage.files import make_folder, unwritable
from rdrop_cli.core.storage.lock import only_writer
from rdrop_cli.core.training.preflight import check_classes
from rdrop_cli.core.training.run import TrainingRun
from rdrop_cli.errors import CheckpointError, DataError, ModelError, StorageError, TrainingInterrupted

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared


@dataclass(frozen=True)
class ComparisonResult:
    """What a comparison came to.

    Attributes:
        document: What `rdrop compare --json` prints and results.json holds.
        files: What was written beside the cells; the picture, if any, is the last.
        others: Cells in the folder that are done and that were left out, as ARM seed N.
    """

    document: dict[str, Any]
    files: list[Path]
    others: list[str]


def compare(grid: Grid, observer: ComparisonObserver | None = None) -> ComparisonResult:
    """Train the cells that are missing, weigh all of them, and write the results.

    Args:
        grid: As `make_grid` gives it.
        observer: Is told of progress.

    Raises:
        TrainingInterrupted: stopped by a signal; the same call resumes.
        RDropError: as `Comparison`, each with what to do.
    """
    told = observer or ComparisonObserver()
    comparison = Comparison(grid.cells, grid.folder, told)
    with comparison.claimed():
        data = comparison.prepare()
        outcomes = comparison.run(comparison.plan(data))
        evidence = weigh(outcomes, grid.arms[0].config.train.metric, on_progress=told.stage)
        document, files = write_results(evidence, outcomes, grid, data)
    return ComparisonResult(document, files, comparison.others())


def plan_comparison(grid: Grid, observer: ComparisonObserver | None = None) -> ComparisonPlan:
    """What `compare` would do, and how long it should take; nothing is written but prepared data.

    Raises:
        StorageError: there is not enough space for it.
        RDropError: as `Comparison.prepare`.
    """
    comparison = Comparison(grid.cells, grid.folder, observer)
    return comparison.plan(comparison.prepare())


class Comparison:
    """Arms that are trained with the same seeds on the same splits.

    Args:
        cells: As `make_cells` gives them.
        folder: Holds the cells.
        observer: Is told of progress.
    """

    def __init__(self, cells: Sequence[Cell], folder: Path, observer: ComparisonObserver | None = None) -> None:
        self.cells = list(cells)
        self.folder = folder
        self.observer = observer or ComparisonObserver()
        self._done: dict[Path, CellResult] = {}
        self._data = ""
        self._weights: dict[tuple[str, str | None], tuple[str, str]] = {}

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Have the comparison's folder for this process alone while the block runs.

        A new folder that the block leaves without a run is removed again.

        Raises:
            CheckpointError: another process has it.
            ConfigError: what stands there does not belong to this comparison.
            StorageError: it cannot be written to.
        """
        is_new = not self.folder.exists()
        make_folder(self.folder)
        with only_writer(self.folder):
            try:
                check_cells(self.cells, self.folder)  # another process may have been at work here meanwhile
                yield
            finally:
                if is_new and not any(cell.has_begun for cell in self.cells):
                    with contextlib.suppress(OSError):
                        shutil.rmtree(self.folder)

    def prepare(self) -> Prepared:
        """The data that all cells share; what is done is read once, so that damage shows before hours of training.

        Raises:
            DataError: it has no validation or no test split or one that lacks a class, or has changed since.
            CheckpointError: the results of a cell that is done are damaged, or it began with other weights than others.
        """
        config = self.cells[0].arm.config
        data = prepare_data(config, on_progress=self.observer.training.stage)
        check_rejects(data, config)
        for split in ("validation", "test"):
            if split not in data.splits:
                raise DataError(
                    f"{config.data.source}: no {split} split, which a comparison needs", f"Set data.{split} above 0."
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
                    "Bring the old data back (that of an earlier version: --set data.repeats=exact), or give the"
                    " comparison another --out.",
                )
            self._check_weights(cell, record.get("model") or {})
            if not np.array_equal(self._outcome(cell).test.labels, data.splits["test"].labels):
                raise CheckpointError(
                    f"{cell.folder}: its predictions are not for this test split",
                    f"Delete {cell.folder}; the same command trains it again.",
                )
        self.observer.data(data)
        return data

    def plan(self, data: Prepared) -> ComparisonPlan:
        """What is left to do and what it should take.

        Raises:
            StorageError: there is not enough space for it.
        """
        return make_plan(self.cells, data, self.folder, self.observer.training)

    def run(self, plan: ComparisonPlan) -> list[CellResult]:
        """Train what is left and return every cell's outcome, in the order of `cells`.

        Raises:
            TrainingInterrupted: stopped by a signal; the cell that was being trained is saved.
            RDropError: as training, with the cell's name.
        """
        self.observer.plan(plan, self.cells)
        for cell in self.cells:
            if cell.is_done:
                _drop_checkpoints(cell)  # a kill may have come before
        spent = expected = 0.0
        for index, cell in enumerate(plan.cells):
            is_whole = not cell.has_begun  # what is left of an interrupted one says nothing about the pace
            self.observer.began(cell)
            began = time.perf_counter()
            with _map_cell_errors(cell):
                self._train(cell)
            if is_whole:
                spent += time.perf_counter() - began
                expected += plan.seconds[index]
            pace = spent / expected if expected else 1.0
            self.observer.ended(self._outcome(cell), pace * sum(plan.seconds[index + 1 :]))
        return [self._outcome(cell) for cell in self.cells]

    def others(self) -> list[str]:
        """Cells in the folder that are done and that this comparison leaves out, as ARM seed N."""
        here = {cell.folder for cell in self.cells}
        done = {path.parent for path in self.folder.glob(f"*/seed*/{layout.METRICS}")}
        return [f"{path.parent.name} {path.name.replace('seed', 'seed ')}" for path in sorted(done - here)]

    def _train(self, cell: Cell) -> None:
        with claim_run(cell.folder, cell.config):
            resume = cell.has_begun
            config = as_recorded(cell.folder, cell.config)[0] if resume else cell.config
            training = TrainingRun(config, cell.folder, resume=resume, observer=self.observer.training)
            training.set_up()
            if training.data.fingerprint != self._data:
                raise DataError(
                    f"{cell.name}: the data has changed since this comparison began",
                    "Bring the old data back; the same command resumes. Or give the comparison another --out.",
                )
            self._check_weights(cell, training.model_record)
            training.start()
            del training
            gc.collect()  # a trainer and its model refer to each other
            _drop_checkpoints(cell)

    def _check_weights(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """Cells of one model begin with one set of weights, or a difference might be theirs."""
        weights = record.get("weights")
        if not isinstance(weights, str):
            return  # trained by an earlier version
        model = cell.config.model
        first, known = self._weights.setdefault((model.name, model.revision), (cell.name, weights))
        if weights != known:
            raise CheckpointError(
                f"{cell.name}: the weights of {model.name} are not those that {first} began with",
                "Bring the old ones back, or give the comparison another --out.",
            )

    def _outcome(self, cell: Cell) -> CellResult:
        if cell.folder not in self._done:
            self._done[cell.folder] = load_cell(cell)
        return self._done[cell.folder]


@contextlib.contextmanager
def _map_cell_errors(cell: Cell) -> Iterator[None]:
    """Say of what stops a cell's training which cell it is, and how to resume the comparison."""
    try:
        yield
    except TrainingInterrupted as error:
        raise TrainingInterrupted(f"Stopped in {cell.name} and saved", "The same command resumes there") from error
    except ModelError as error:
        raise ModelError(
            f"{cell.name}: {error.message}",
            "The same command resumes, with --set train.micro_batch_size=auto if memory ran out; if the arm cannot be"
            f" trained so, leave it out, or delete {cell.folder} and give it other settings.",
        ) from error
    except StorageError as error:
        raise StorageError(f"{cell.name}: {error.message}", "Put that right; the same command resumes.") from error


def _drop_checkpoints(cell: Cell) -> None:
    """A finished run has no use for them, and they are ten times as large as the model that is kept."""
    try:
        shutil.rmtree(cell.folder / layout.CHECKPOINTS)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise unwritable(cell.folder / layout.CHECKPOINTS, error) from error
