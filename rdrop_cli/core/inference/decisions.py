"""What is done with probabilities: the threshold that chooses between two classes, and leaving out unsure examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rdrop_cli import processes
from rdrop_cli.core.inference.examples import examples_of_run
from rdrop_cli.core.inference.measuring import classify, true_classes
from rdrop_cli.core.metrics import abstaining, thresholds
from rdrop_cli.core.metrics.calibration import at_temperature, aurc
from rdrop_cli.core.metrics.predictions import Predictions
from rdrop_cli.core.runs.threshold import Threshold, run_to_save_in, save_threshold
from rdrop_cli.errors import CheckpointError, ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.inference.classifier import Classifier
    from rdrop_cli.core.inference.measuring import Measurement
    from rdrop_cli.core.metrics.thresholds import Curve, Rule
    from rdrop_cli.core.progress import Progress
    from rdrop_cli.core.runs.checkpoint import Checkpoint

    Choose = Rule | Literal["none"]

SPLIT = "validation"
"""Thresholds are chosen on it, and never on test."""


@dataclass(frozen=True)
class ThresholdChoice:
    """How a threshold was chosen.

    Attributes:
        curve: All thresholds on validation.
        index: The chosen one's.
    """

    curve: Curve
    index: int


@dataclass(frozen=True)
class Decisions:
    """What a checkpoint decides on labelled examples.

    Attributes:
        threshold: The one in use: chosen now or saved with the checkpoint. None: the most probable class is predicted.
        chosen: How it was chosen; None: it was not chosen now.
        is_saved: The checkpoint has it.
        without: `decision_metrics` of the most probable classes; None without a threshold.
        at_threshold: `decision_metrics` of what the threshold gives.
        covered: Errors where the least confident examples get no label.
        aurc: Area under the risk-coverage curve of the most probable classes.
    """

    threshold: Threshold | None
    chosen: ThresholdChoice | None
    is_saved: bool
    without: dict[str, Any] | None
    at_threshold: dict[str, Any] | None
    covered: list[abstaining.CoveragePoint] = field(default_factory=list)
    aurc: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Keys of the document of `rdrop evaluate --json`."""
        document: dict[str, Any] = {"threshold": None, "at_threshold": self.at_threshold}
        if self.threshold is not None:
            document["threshold"] = {**self.threshold.as_dict(), "saved": self.is_saved}
        if self.chosen is not None:
            curve = self.chosen.curve
            document["threshold"]["curve"] = curve.rows(curve.thinned(self.chosen.index))
        document["risk_coverage"] = {"aurc": self.aurc, "table": [row.as_dict() for row in self.covered]}
        return document


def decide(
    classifier: Classifier,
    own: Checkpoint,
    measured: Measurement,
    *,
    choose: Choose | None = None,
    save_in: Path | None = None,
    measured_is_validation: bool = False,
    on_progress: Progress,
) -> Decisions:
    """Choose a threshold if asked to, and measure what it gives on the examples that were measured.

    Args:
        own: The checkpoint of the classifier.
        choose: Choose a threshold on the validation split of its run; `none`: use none, also where one is saved. None:
            use the one that is saved.
        save_in: The run with which the result is saved; with `none` the threshold that it has is removed.
        measured_is_validation: The measured examples are that split, so they are not classified again.

    Raises:
        CheckpointError: the checkpoint is not part of a run.
        DataError: there are not two classes, no threshold reaches what is wanted, or the run's data cannot be read.
        StorageError: the run cannot be written.
    """
    chosen, threshold = None, classifier.threshold
    if choose == "none":
        threshold = None
    elif choose is not None:
        validation = (
            _calibrated(classifier, measured.predictions)
            if measured_is_validation
            else _classify_validation(classifier, own, on_progress)
        )
        label = measured.labels[measured.positive]
        chosen, threshold = _choose(validation, choose, measured.positive, label)
    is_saved = threshold is not None and (save_in is not None or choose is None)
    decisions = _measure(
        _calibrated(classifier, measured.predictions), threshold, measured.labels, chosen, is_saved=is_saved
    )
    if save_in is not None:
        if processes.is_main_process():
            save_threshold(save_in, threshold)
        processes.barrier()
    return decisions


def check_choice(own: Checkpoint, choose: Choose | None, *, save: bool) -> Path | None:
    """Refuse, before anything is loaded, a threshold that cannot be chosen or saved; return where it is to be saved.

    Raises:
        CheckpointError: the checkpoint is not part of a run, or its run cannot be changed now.
        ConfigError: there is nothing to save.
    """
    if save and choose is None:
        raise ConfigError("--save-threshold: there is nothing to save", "Add --choose-threshold.")
    if choose not in (None, "none") and own.run is None:
        raise CheckpointError(
            f"{own.name}: not part of a run, so it has no {SPLIT} split to choose a threshold on", "Give a run."
        )
    return run_to_save_in(own) if save else None


def check_classes(choose: Choose | None, classes: int) -> None:
    """Refuse to choose a threshold for other than two classes.

    Raises:
        DataError: there are not two.
    """
    if choose not in (None, "none") and classes != 2:
        raise DataError(f"--choose-threshold needs exactly two classes, but this checkpoint has {classes}")


def _classify_validation(classifier: Classifier, own: Checkpoint, on_progress: Progress) -> Predictions:
    examples = examples_of_run(own, SPLIT, on_progress)
    truth, _ = true_classes(classifier.labels, examples)
    return _calibrated(classifier, Predictions(truth, classify(classifier, examples, on_progress, f" ({SPLIT})")))


def _calibrated(classifier: Classifier, raw: Predictions) -> Predictions:
    if classifier.temperature == 1.0:
        return raw
    return Predictions(raw.labels, at_temperature(raw.probabilities, classifier.temperature))


def _choose(validation: Predictions, rule: Rule, positive: int, label: str) -> tuple[ThresholdChoice, Threshold]:
    try:
        curve = thresholds.threshold_curve(validation.labels == positive, validation.probabilities[:, positive])
        index = thresholds.choose(curve, rule)
    except thresholds.Unreachable as error:
        raise DataError(f"no threshold for {rule} of {label}: {error} on {SPLIT}") from error
    value = float(curve.thresholds[index])
    return ThresholdChoice(curve, index), Threshold(value, label, str(rule), SPLIT, len(validation.labels))


def _measure(
    predictions: Predictions,
    threshold: Threshold | None,
    labels: tuple[str, ...],
    chosen: ThresholdChoice | None,
    *,
    is_saved: bool,
) -> Decisions:
    truth, probabilities = predictions.labels, predictions.probabilities
    predicted: NDArray[Any] = probabilities.argmax(axis=1)
    without = at_threshold = None
    if threshold is not None:
        positive = labels.index(threshold.label)
        without = thresholds.decision_metrics(truth, predicted, positive)
        predicted = thresholds.labels_at(probabilities, positive, threshold.value)
        at_threshold = thresholds.decision_metrics(truth, predicted, positive)
    confidence = probabilities[range(len(truth)), predicted]
    covered = abstaining.covered(truth, predicted, confidence)
    return Decisions(threshold, chosen, is_saved, without, at_threshold, covered, aurc(truth, probabilities))
