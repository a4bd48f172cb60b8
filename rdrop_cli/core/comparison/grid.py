"""The cells of a comparison: one arm with one seed, its run folder, and its results. Imports nothing heavy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.config import load_recorded, override
from rdrop_cli.core.comparison.arms import CLASSIC, Arm, Budget, make_arms
from rdrop_cli.core.metrics.classification import SCALARS, classification_metrics
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.claim import check_run_folder
from rdrop_cli.core.runs.outputs import load_cost, load_predictions
from rdrop_cli.core.runs.resolve import as_recorded, check_configuration
from rdrop_cli.core.runs.trackers import check_trackers
from rdrop_cli.core.storage.files import is_leftover
from rdrop_cli.core.storage.lock import LOCK
from rdrop_cli.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from rdrop_cli.core.metrics.predictions import Predictions
    from rdrop_cli.schema import Config

_NUMBERS = ("seconds", "wall_seconds", "steps", "best_epoch", "resumed_from_step")


@dataclass(frozen=True)
class Cell:
    """One arm with one seed."""

    arm: Arm
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """The name for display."""
        return f"{self.arm.name} seed {self.seed}"

    @property
    def config(self) -> Config:
        """The configuration of the cell's run."""
        train = self.arm.config.train.model_copy(update={"seed": self.seed})
        return self.arm.config.model_copy(update={"train": train})

    @property
    def has_begun(self) -> bool:
        """True if the run can be resumed or has finished."""
        return (self.folder / layout.CONFIG).is_file()

    @property
    def is_done(self) -> bool:
        """True if the run has finished."""
        return self.has_begun and (self.folder / layout.METRICS).is_file()


@dataclass(frozen=True)
class Grid:
    """A comparison's cells: every arm with every seed.

    Attributes:
        arms: The first is the baseline.
        cells: Seed by seed.
        folder: The folder with the cells and the results.
        budget: What is equal for all arms: optimizer steps or compute.
    """

    arms: list[Arm]
    cells: list[Cell]
    folder: Path
    budget: Budget


@dataclass(frozen=True)
class CellOutcome:
    """A cell's results.

    Attributes:
        metrics: By split, as in its metrics.json.
        test: Its raw predictions for the test examples.
        cost: As in its training.json.
        environment: The device, precision and versions it was trained with, for display.
        validation: Its raw predictions for the validation examples; None: it was trained by a version that kept none.
    """

    arm: str
    seed: int
    folder: Path
    metrics: dict[str, dict[str, Any]]
    test: Predictions
    cost: dict[str, Any]
    environment: str = ""
    validation: Predictions | None = None


def default_folder(config: Config) -> Path:
    """The default folder of a comparison, named after its data and its model."""
    parts = [Path(config.data.source).name.split(".")[0], Path(config.model.name).name]
    if config.data.train_examples:
        parts.insert(1, str(config.data.train_examples))
    return layout.COMPARISONS / (re.sub(r"[^\w.-]+", "-", "-".join(parts)).strip("-.").lower() or "comparison")


def make_grid(
    config: Config,
    names: Sequence[str] = CLASSIC,
    own: Sequence[str] = (),
    *,
    seeds: int = 5,
    budget: Budget = "steps",
    folder: Path | None = None,
) -> Grid:
    """Plan a comparison's cells, and check what can be checked before anything heavy is imported.

    Args:
        config: Like `names`, `own` and `budget`, an argument of `make_arms`.
        seeds: How many seeds, starting with the configuration's.
        folder: The comparison's folder; None: a folder under comparisons/, named after data and model.

    Raises:
        ConfigError: a setting, name or seed is invalid, or a cell in the folder has other settings.
        DataError, ModelError, HubError: the data or the model is missing.
        CheckpointError: the folder contains something else.
    """
    config = check_configuration(config)
    arms = make_arms(config, names, own, budget)
    for arm in arms:
        check_trackers(arm.config.train.report_to)
    folder = folder or default_folder(config)
    first = config.train.seed
    cells = make_cells(arms, range(first, first + seeds), folder)
    check_cells(cells, folder)
    return Grid(arms, cells, folder, budget)


def make_cells(arms: Sequence[Arm], seeds: Sequence[int], folder: Path) -> list[Cell]:
    """Every arm with every seed, in the order of seeds, so that a comparison stopped early has complete pairs.

    Raises:
        ConfigError: a seed is too large.
    """
    override(arms[0].config, {"train.seed": seeds[-1]}, "--seeds")
    return [Cell(arm, seed, folder / arm.name / f"seed{seed}") for seed in seeds for arm in arms]


def check_cells(cells: Sequence[Cell], folder: Path) -> None:
    """Check whether the content of a comparison's folder belongs to it. Imports nothing heavy.

    Raises:
        ConfigError: a cell was trained with other settings; the message has the difference.
        CheckpointError: the folder, or a cell's, contains something else.
    """
    if folder.is_dir() and not any(folder.glob(f"*/seed*/{layout.CONFIG}")):
        own = {LOCK, *(cell.arm.name for cell in cells)}
        foreign = sorted(path.name for path in folder.iterdir() if path.name not in own and not is_leftover(path))
        if foreign:
            raise CheckpointError(
                f"{folder}: contains {foreign[0]} but no comparison, so rdrop does not write to this folder",
                "Give another --out.",
            )
    for cell in cells:
        if not cell.has_begun:
            check_run_folder(cell.folder)
            continue
        _, changed = as_recorded(cell.folder, cell.config)
        if changed:
            raise ConfigError(
                f"{cell.folder}: this run was trained with other settings: {'; '.join(changed)}",
                "Rename the arm, or give the comparison another --out.",
            )


def load_cell(cell: Cell) -> CellOutcome:
    """The results of a finished cell.

    Raises:
        CheckpointError: its files are missing or damaged.
    """
    try:
        metrics = layout.read_json(cell.folder / layout.METRICS)
        test = load_predictions(cell.folder)
        cost = load_cost(cell.folder)
        has_validation = (cell.folder / layout.PREDICTIONS["validation"]).exists()
        validation = load_predictions(cell.folder, "validation") if has_validation else None
        for split, predictions in (("test", test), ("validation", validation)):
            if predictions is None:
                continue
            again = classification_metrics(predictions.labels, predictions.probabilities)
            if any(not _same(metrics[split][name], again[name]) for name in SCALARS):
                raise ValueError(f"its {split} metrics do not match its predictions")
        numbers = [metrics["validation"][name] for name in SCALARS] + [cost[name] for name in _NUMBERS]
        if not all(isinstance(value, float | int | None) for value in numbers):
            raise TypeError("its metrics are not numbers")
    except (CheckpointError, LookupError, TypeError, ValueError) as error:
        cause = error.message if isinstance(error, CheckpointError) else f"{cell.folder}: its results are damaged"
        raise CheckpointError(cause, f"Delete {cell.folder} and run the same command to train it again.") from error
    return CellOutcome(cell.arm.name, cell.seed, cell.folder, metrics, test, cost, _environment(cell, cost), validation)


def _environment(cell: Cell, cost: Mapping[str, Any]) -> str:
    versions = cost.get("versions")
    software = (
        ", ".join(f"{name} {version}" for name, version in versions.items()) if isinstance(versions, dict) else "?"
    )
    precision = load_recorded(cell.folder / layout.CONFIG).train.precision
    return f"{cost.get('device')}, {precision}, {software}"


def _same(value: float | None, other: float | None) -> bool:
    """Equal except for the last bits, in which two machines may differ."""
    if value is None or other is None:
        return value is other
    return math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-12)
