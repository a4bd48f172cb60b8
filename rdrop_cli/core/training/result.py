"""The results of a training run, and the files that they are written to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.model import device as devices
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.model_card import model_card
from rdrop_cli.core.runs.outputs import library_versions, save_outputs
from rdrop_cli.core.runs.record import data_record
from rdrop_cli.core.storage.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rdrop_cli.core.metrics.predictions import Predictions
    from rdrop_cli.core.runs.calibration import Calibration
    from rdrop_cli.core.training.set_up import TrainingSetup


@dataclass(frozen=True)
class TrainingResult:
    """The results of a finished run.

    Attributes:
        checkpoint: The best model's folder.
        metrics: By split: train (a sample), validation, and test if there is such a split. Raw ones under the
            names that `classification_metrics` gives them, and those at the temperature.
        calibration: The temperature that best/ has; None: `train.calibrate` is none.
        seconds: Training time of this session.
        examples_per_second: Training rate of this session.
        steps: Optimizer steps of the whole run.
        planned_steps: What they would have been without early stopping.
        first_step: The steps that had been done when this session began.
        best_epoch: The epoch of the best model; a fraction within an epoch.
    """

    run: Path
    checkpoint: Path
    metrics: dict[str, dict[str, Any]]
    seconds: float
    examples_per_second: float
    steps: int
    planned_steps: int
    first_step: int
    best_epoch: float
    calibration: Calibration | None = None

    @property
    def stopped_early(self) -> bool:
        """True if the validation metric ended the training before its last epoch."""
        return self.steps < self.planned_steps


def write_result(
    ready: TrainingSetup, result: TrainingResult, predictions: Mapping[str, Predictions], wall_seconds: float
) -> None:
    """Write the files of a finished run; metrics.json comes last, because it marks the run as finished.

    Args:
        predictions: By split.
        wall_seconds: Of this session, loading and evaluations included.

    Raises:
        StorageError: one cannot be written.
    """
    cost = {
        "seconds": result.seconds,
        "wall_seconds": wall_seconds,
        "examples_per_second": result.examples_per_second,
        "steps": result.steps,
        "planned_steps": result.planned_steps,
        "resumed_from_step": result.first_step or None,
        "best_epoch": result.best_epoch,
        "device": devices.describe(ready.device),
        "threads": ready.threads.count,
        "threads_reason": ready.threads.reason,
        "versions": library_versions(),
    }
    save_outputs(result.run, predictions, cost)
    card = model_card(
        ready.config, ready.data.labels.names, data_record(ready.data), result.metrics, calibration=result.calibration
    )
    write_text(result.checkpoint / layout.README, card)
    write_text(result.run / layout.METRICS, json.dumps(result.metrics, indent=2) + "\n")
