"""The cells of a comparison: one arm with one seed, where it stands, and what it came to. Nothing heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdrop_cli.config import override
from rdrop_cli.core import checkpoints, outcome, runs
from rdrop_cli.core.arms import Arm
from rdrop_cli.core.metrics import SCALARS, classification_metrics
from rdrop_cli.core.outcome import Predictions
from rdrop_cli.errors import CheckpointError, ConfigError
from rdrop_cli.schema import Config

COMPARISONS = Path("comparisons")


@dataclass(frozen=True)
class Cell:
    """One arm with one seed."""

    arm: Arm
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """For showing."""
        return f"{self.arm.name} seed {self.seed}"

    @property
    def config(self) -> Config:
        """The configuration of its run."""
        train = self.arm.config.train.model_copy(update={"seed": self.seed})
        return self.arm.config.model_copy(update={"train": train})

    @property
    def has_begun(self) -> bool:
        """True for a run that can go on, or has ended."""
        return (self.folder / checkpoints.CONFIG).is_file()

    @property
    def is_done(self) -> bool:
        """True for a run that has ended."""
        return self.has_begun and (self.folder / checkpoints.METRICS).is_file()


@dataclass(frozen=True)
class Outcome:
    """What a cell came to.

    Attributes:
        metrics: By split, as in its metrics.json.
        test: Its predictions for the test examples.
        cost: As in its training.json.
    """

    arm: str
    seed: int
    folder: Path
    metrics: dict[str, dict[str, Any]]
    test: Predictions
    cost: dict[str, Any]


def default_folder(config: Config) -> Path:
    """Where a comparison goes when nothing is said: named after its data and its model."""
    parts = [Path(config.data.source).name.split(".")[0], Path(config.model.name).name]
    if config.data.train_examples:
        parts.insert(1, str(config.data.train_examples))
    return COMPARISONS / re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).strip("-.").lower()


def make_cells(arms: Sequence[Arm], seeds: Sequence[int], folder: Path) -> list[Cell]:
    """Every arm with every seed, seed by seed, so that a comparison that is stopped early has whole pairs.

    Raises:
        ConfigError: a seed is too large.
    """
    override(arms[0].config, {"train.seed": seeds[-1]}, "--seeds")
    return [Cell(arm, seed, folder / arm.name / f"seed{seed}") for seed in seeds for arm in arms]


def check(cells: Iterable[Cell]) -> None:
    """Find out, before anything heavy, whether the runs that are there are these cells.

    Raises:
        ConfigError: one was trained with other settings; with the difference.
        CheckpointError: something else stands where a cell goes, or another process writes there.
    """
    for cell in cells:
        if not cell.has_begun:
            runs.check_place(cell.folder)
            continue
        _, changed = runs.as_recorded(cell.folder, cell.config)
        if changed:
            raise ConfigError(
                f"{cell.folder}: this cell was trained with other settings: {'; '.join(changed)}",
                "Give the arm another name, or the comparison another --out.",
            )


def load(cell: Cell) -> Outcome:
    """The outcome of a cell that is done.

    Raises:
        CheckpointError: its files are missing or damaged.
    """
    metrics = checkpoints.read_json(cell.folder / checkpoints.METRICS)
    test = outcome.load_predictions(cell.folder)
    cost = outcome.load_cost(cell.folder)
    try:
        again = classification_metrics(test.labels, test.probabilities)
        if any(metrics["test"][name] != again[name] for name in SCALARS):
            raise ValueError("metrics that are not those of the predictions")
        float(cost["seconds"]), int(cost["steps"]), float(cost["best_epoch"])
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{cell.folder}: its results are damaged", "Delete the folder; the same command trains it again."
        ) from error
    return Outcome(cell.arm.name, cell.seed, cell.folder, metrics, test, cost)
