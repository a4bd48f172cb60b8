"""Metrics of a training: validation metrics of each epoch, and metrics of the best epoch on every split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.inference.backends.choice import open_classifier
from rdrop_cli.core.metrics.calibration import calibrated_metrics
from rdrop_cli.core.metrics.classification import SCALARS, classification_metrics
from rdrop_cli.core.metrics.predictions import Predictions, softmax
from rdrop_cli.core.progress import counting
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.best_model import checkpoint_card
from rdrop_cli.core.runs.checkpoint import Checkpoint
from rdrop_cli.core.training.calibration import calibrate_best

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.core.data.tokens import TokenDataset
    from rdrop_cli.core.runs.calibration import Calibration
    from rdrop_cli.core.training.observer import Observer
    from rdrop_cli.schema import Config

TRAIN_SAMPLE = 2000
"""Most training examples to measure the train row of the final table on."""


def validation_metrics(prediction: Any) -> dict[str, float]:
    """Scalar metrics of the Trainer's predictions on validation; undefined ones are NaN, as the Trainer expects.

    Raises:
        FloatingPointError: the logits are not finite.
    """
    logits = np.asarray(prediction.predictions)
    if not np.isfinite(logits).all():
        raise FloatingPointError("the model's output on validation is not finite")
    metrics = classification_metrics(prediction.label_ids, softmax(logits))
    return {name: float("nan") if metrics[name] is None else metrics[name] for name in SCALARS}


@dataclass(frozen=True)
class BestMeasured:
    """What the best epoch's model gives.

    Attributes:
        metrics: By split: raw ones, and those at the temperature.
        predictions: By split, raw.
        calibration: The temperature, which best/ now has; None: none was wanted.
    """

    metrics: dict[str, dict[str, Any]]
    predictions: dict[str, Predictions]
    calibration: Calibration | None


def measure_best(
    config: Config,
    data: Prepared,
    datasets: Mapping[str, TokenDataset],
    run: Path,
    observer: Observer,
    notice: Callable[[str], None],
) -> BestMeasured:
    """Measure a run's best/ on every split, then calibrate it as configured.

    It is read back from disk, so that the saved model is what is measured. Train is measured on a sample. Test, if
    there is such a split, is used here for the first time.

    Args:
        notice: Called with one line about anything that does not work on the device, or with this model.

    Raises:
        StorageError: best/ cannot be written.
    """
    card = checkpoint_card(config, data)
    best = Checkpoint(str(run / layout.BEST), run, card)
    resume = f"Resume with: {layout.resume_command(run)} --set train.eval_batch_size=8."
    classifier = open_classifier(
        best,
        device=config.train.device,
        trust_remote_code=config.model.trust_remote_code,
        memory_hint=resume,
        notice=notice,
    )
    chosen = {**datasets, "train": datasets["train"].sample(TRAIN_SAMPLE, config.train.seed)}
    metrics: dict[str, dict[str, Any]] = {}
    predictions: dict[str, Predictions] = {}
    for split, dataset in chosen.items():
        advance = counting(observer.stage, f"Evaluating {split}", len(dataset))
        split_predictions = Predictions(dataset.targets, classifier.probabilities(dataset, advance))
        metrics[split] = classification_metrics(split_predictions.labels, split_predictions.probabilities)
        predictions[split] = split_predictions
    calibration = None
    if config.train.calibrate == "temperature":
        calibration = calibrate_best(
            run / layout.BEST,
            classifier.backend,
            datasets["validation"],
            predictions["validation"],
            trust_remote_code=config.model.trust_remote_code,
            notice=notice,
        )
    for split, split_predictions in predictions.items():
        temperature = calibration.temperature if calibration else None
        metrics[split] |= calibrated_metrics(split_predictions.labels, split_predictions.probabilities, temperature)
    return BestMeasured(metrics, predictions, calibration)
