"""Metrics of a training: of each epoch on validation, and of the best epoch on every split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.inference.classifier import Classifier
from rdrop_cli.core.metrics.classification import SCALARS, classification_metrics, softmax
from rdrop_cli.core.metrics.predictions import Predictions
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.best_model import checkpoint_card
from rdrop_cli.core.runs.checkpoint import Checkpoint

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.core.data.tokens import TokenDataset
    from rdrop_cli.core.training.observer import Observer
    from rdrop_cli.schema import Config

TRAIN_SAMPLE = 2000
"""Training examples that the final table's train row is measured on, at most."""


def validation_metrics(prediction: Any) -> dict[str, float]:
    """Scalar metrics of what the Trainer gathered on validation; one that is undefined is NaN there.

    Raises:
        FloatingPointError: logits that are not finite.
    """
    logits = np.asarray(prediction.predictions)
    if not np.isfinite(logits).all():
        raise FloatingPointError("the model's output on validation is not finite")
    metrics = classification_metrics(prediction.label_ids, softmax(logits))
    return {name: float("nan") if metrics[name] is None else metrics[name] for name in SCALARS}


def measure_best(
    config: Config,
    data: Prepared,
    datasets: Mapping[str, TokenDataset],
    run: Path,
    observer: Observer,
    notice: Callable[[str], None],
) -> tuple[dict[str, dict[str, Any]], Predictions | None]:
    """Metrics by split of a run's best/, read back from disk: what is reported is what was saved.

    Train is measured on a sample; test, if there is one, is opened here for the first time.

    Args:
        notice: Is told what does not work on the device.

    Returns:
        The metrics, and what was predicted for the test split.
    """
    card = checkpoint_card(config, data)
    best = Checkpoint(str(run / layout.BEST), run, card)
    resume = f"Resume with: {layout.resume_command(run)} --set train.eval_batch_size=8."
    classifier = Classifier(
        best,
        device=config.train.device,
        trust_remote_code=config.model.trust_remote_code,
        memory_hint=resume,
        notice=notice,
    )
    chosen = {**datasets, "train": datasets["train"].sample(TRAIN_SAMPLE, config.train.seed)}
    metrics: dict[str, dict[str, Any]] = {}
    test = None
    for split, dataset in chosen.items():
        done = 0

        def advance(count: int, split: str = split, total: int = len(dataset)) -> None:
            nonlocal done
            done += count
            observer.stage(f"Evaluating {split}", done, total)

        predictions = Predictions(dataset.targets, classifier.probabilities(dataset, advance))
        metrics[split] = classification_metrics(predictions.labels, predictions.probabilities)
        test = predictions if split == "test" else test
    return metrics, test
