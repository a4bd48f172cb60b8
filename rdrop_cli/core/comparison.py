"""A comparison: every arm with every seed, each an ordinary run, none of them trained twice.

The cells of a comparison stand in FOLDER/ARM/seedN. What is done is known by the run folders alone, so a comparison
that was stopped anywhere goes on, and one with more seeds or arms trains only what is new.
"""

from __future__ import annotations

import contextlib
import gc
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rdrop_cli.core import checkpoints, outcome, preparation, results, runs
from rdrop_cli.core.arms import Budget
from rdrop_cli.core.callbacks import Observer
from rdrop_cli.core.cells import Cell, Outcome, load
from rdrop_cli.core.files import unwritable
from rdrop_cli.core.forecast import forecast
from rdrop_cli.core.lock import only_writer
from rdrop_cli.core.measuring import TRAIN_SAMPLE
from rdrop_cli.core.prepared import Prepared
from rdrop_cli.core.training import Training
from rdrop_cli.errors import DataError, StorageError, TrainingInterrupted
from rdrop_cli.schema import Config

_TIMING = 6.0
"""Seconds for timing one kind of arm."""
_STEPS_ALONE = ("alpha", "lr", "weight_decay", "warmup", "schedule", "max_grad_norm", "label_smoothing", "seed")
"""Keys that do not change how long a step takes (alpha does when it is 0)."""


@dataclass(frozen=True)
class Plan:
    """What is left to do: the cells, the seconds each should take, and the disk that all need."""

    cells: list[Cell]
    seconds: list[float]
    disk: int


class Watcher:
    """Is told how a comparison goes on; this one ignores it.

    Attributes:
        training: Is told of each training.
    """

    training = Observer()

    def plan(self, plan: Plan, cells: Sequence[Cell]) -> None:
        """The cells are about to be trained, `plan.cells` of `cells`."""

    def began(self, cell: Cell) -> None:
        """A cell begins, or goes on."""

    def ended(self, result: Outcome, seconds_left: float) -> None:
        """A cell is done."""


class Comparison:
    """Arms that are trained with the same seeds on the same splits.

    Args:
        cells: As `cells.make_cells` gives them, checked.
        folder: Holds the cells.
        budget: What the arms were made for.
        watcher: Is told of progress.
    """

    def __init__(
        self, cells: Sequence[Cell], folder: Path, budget: Budget = "steps", watcher: Watcher | None = None
    ) -> None:
        self.cells = list(cells)
        self.folder = folder
        self.budget = budget
        self.watcher = watcher or Watcher()

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Have the comparison's folder for this process alone while the block runs.

        A new folder that the block leaves without a run is removed again.

        Raises:
            CheckpointError: another process has it.
            StorageError: it cannot be written to.
        """
        is_new = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        with only_writer(self.folder):
            try:
                yield
            finally:
                if is_new and not any(cell.has_begun for cell in self.cells):
                    with contextlib.suppress(OSError):
                        shutil.rmtree(self.folder)

    def prepare(self) -> Prepared:
        """The data that all cells share.

        Raises:
            DataError: it has no validation or no test split, or has changed since a cell was trained.
        """
        config = self.cells[0].arm.config
        data = preparation.prepare(config, on_progress=self.watcher.training.stage)
        for split in ("validation", "test"):
            if split not in data.splits:
                raise DataError(
                    f"{config.data.source}: no {split} split, which a comparison needs", f"Set data.{split} above 0."
                )
        for cell in self.cells:
            if cell.is_done and checkpoints.read_record(cell.folder).get("fingerprint") != data.fingerprint:
                raise DataError(
                    f"{cell.folder}: the data has changed since this cell was trained",
                    "Bring the old data back, or give the comparison another --out.",
                )
        return data

    def plan(self, data: Prepared) -> Plan:
        """What is left to do and what it should take, from cells that are done or else a few timed steps.

        Raises:
            StorageError: there is not enough space for it.
        """
        left = [cell for cell in self.cells if not cell.is_done]
        rates = {_kind(cell.config): rate for cell in self.cells if cell.is_done and (rate := _recorded_rate(cell))}
        weights = max((_weights(cell) for cell in self.cells if cell.is_done), default=0)
        for cell in left:
            if _kind(cell.config) not in rates:
                rates[_kind(cell.config)], size = self._time(cell, data)
                weights = max(weights, size)
        seconds = [rates[_kind(cell.config)] * _steps(cell.config, data) for cell in left]
        # Each run keeps its best model; the one in training also checkpoints, each with two moments of every weight.
        kept = self.cells[0].arm.config.train.keep_checkpoints + 2
        plan = Plan(left, seconds, weights * (len(left) + 3 * kept))
        self._check_space(plan)
        return plan

    def run(self, plan: Plan) -> list[Outcome]:
        """Train what is left and return every cell's outcome, in the order of `cells`.

        Raises:
            TrainingInterrupted: stopped by a signal; the cell that was being trained is saved.
            RDropError: as training.
        """
        self.watcher.plan(plan, self.cells)
        spent = expected = 0.0
        for index, cell in enumerate(plan.cells):
            self.watcher.began(cell)
            began = time.perf_counter()
            self._train(cell)
            spent += time.perf_counter() - began
            expected += plan.seconds[index]
            self.watcher.ended(load(cell), spent / expected * sum(plan.seconds[index + 1 :]))
            results.write_cells([load(cell) for cell in self.cells if cell.is_done], self.folder, self.budget)
        return [load(cell) for cell in self.cells]

    def others(self) -> list[str]:
        """Arms in the folder that this comparison leaves out."""
        names = {cell.arm.name for cell in self.cells}
        found = {path.parent.parent.name for path in self.folder.glob(f"*/seed*/{checkpoints.METRICS}")}
        return sorted(found - names)

    def _train(self, cell: Cell) -> None:
        with runs.claimed(cell.folder, cell.config):
            resume = cell.has_begun
            config = runs.as_recorded(cell.folder, cell.config)[0] if resume else cell.config
            training = Training(config, cell.folder, resume=resume, observer=self.watcher.training)
            try:
                training.start()
            except TrainingInterrupted as error:
                raise TrainingInterrupted(
                    f"Stopped in {cell.name} and saved", "The same command goes on from there"
                ) from error
            del training
            gc.collect()  # a trainer and its model refer to each other
            _drop_checkpoints(cell)

    def _time(self, cell: Cell, data: Prepared) -> tuple[float, int]:
        """Seconds a step, everything around it included; bytes of the model's weights."""
        began = time.perf_counter()
        with TemporaryDirectory() as folder:
            training = Training(cell.config, Path(folder) / "run", observer=self.watcher.training)
        loading = time.perf_counter() - began
        found = forecast(training, seconds=_TIMING)
        sizes = {name: len(split) for name, split in data.splits.items()}
        measured = min(sizes["train"], TRAIN_SAMPLE) + sizes["validation"] + sizes["test"]
        total = found.seconds + loading + found.evaluation_seconds * measured / sizes["validation"]
        weights = sum(parameter.numel() * parameter.element_size() for parameter in training.model.parameters())
        del training
        gc.collect()
        return total / found.steps, weights

    def _check_space(self, plan: Plan) -> None:
        if not plan.cells:
            return
        place = next(path for path in (self.folder, *self.folder.absolute().parents) if path.is_dir())
        free = shutil.disk_usage(place).free
        if free < plan.disk:
            raise StorageError(
                f"{self.folder}: {len(plan.cells)} runs need about {plan.disk / 2**30:.1f} GiB,"
                f" {free / 2**30:.1f} GiB are free",
                "Make room, or give an --out elsewhere.",
            )


def _drop_checkpoints(cell: Cell) -> None:
    """A finished run has no use for them, and they are ten times as large as the model that is kept."""
    try:
        shutil.rmtree(cell.folder / checkpoints.CHECKPOINTS)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise unwritable(cell.folder / checkpoints.CHECKPOINTS, error) from error


def _weights(cell: Cell) -> int:
    return sum(path.stat().st_size for path in (cell.folder / checkpoints.BEST).glob("*.safetensors"))


def _kind(config: Config) -> str:
    """What decides how long a step takes."""
    tree = config.model_dump(include={"model", "rdrop", "train"})
    two_passes = bool(tree["rdrop"]["alpha"])
    for group in ("rdrop", "train"):
        tree[group] = {key: value for key, value in tree[group].items() if key not in (*_STEPS_ALONE, "precision")}
    tree["train"].pop("epochs")
    return repr((two_passes, tree))


def _steps(config: Config, data: Prepared) -> int:
    return -(-len(data.splits["train"]) // config.train.batch_size) * config.train.epochs


def _recorded_rate(cell: Cell) -> float | None:
    """Seconds a step of a cell that was trained in one go."""
    cost = outcome.load_cost(cell.folder)
    if cost.get("resumed_from_step") or not cost.get("steps"):
        return None
    return float(cost["wall_seconds"]) / int(cost["steps"])
