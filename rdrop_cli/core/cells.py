"""The cells of a comparison: one arm with one seed, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdrop_cli.core import checkpoints, outcome
from rdrop_cli.core.arms import Arm
from rdrop_cli.core.metrics import SCALARS, classification_metrics
from rdrop_cli.core.outcome import Predictions
from rdrop_cli.errors import CheckpointError
from rdrop_cli.schema import Config


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
