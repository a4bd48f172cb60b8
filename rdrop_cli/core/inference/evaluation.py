"""Evaluate a checkpoint on labelled data, alone or against another. Reads the data before importing anything heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.data.columns import ColumnNames
from rdrop_cli.core.inference.decisions import SPLIT, check_choice, check_classes, decide
from rdrop_cli.core.inference.examples import Examples, examples_of_run, examples_of_source
from rdrop_cli.core.inference.seen import SeenCounts, count_seen
from rdrop_cli.core.metrics.bootstrap import Interval, interval, resample
from rdrop_cli.core.metrics.calibration import calibrated_metrics
from rdrop_cli.core.metrics.predictions import Predictions
from rdrop_cli.core.progress import Notice, Progress, no_notice, no_progress
from rdrop_cli.core.runs.checkpoint import Checkpoint, find_checkpoint, trained_on_the_same
from rdrop_cli.schema import HubConfig, Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rdrop_cli.core.inference.backends.base import BackendChoice, BackendName
    from rdrop_cli.core.inference.classifier import Classifier
    from rdrop_cli.core.inference.decisions import Choose, Decisions
    from rdrop_cli.core.inference.measuring import Measurement
    from rdrop_cli.core.metrics.head_to_head import HeadToHead


@dataclass(frozen=True)
class Rival:
    """Another checkpoint on the same examples.

    Attributes:
        name: The checkpoint's name.
        seen: How many of the examples it has seen; None: unknown.
        same_data: Whether both were trained on the same examples in the same splits.
        precision: Of the matrix products.
        backend: What ran the model.
        compared: The first checkpoint compared with this one, both with raw probabilities.
        calibrated: This one's metrics at its temperature, as `calibrated_metrics` gives them.
    """

    name: str
    seen: SeenCounts | None
    same_data: bool
    precision: str
    backend: BackendName
    compared: HeadToHead
    calibrated: Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint's results on labelled examples.

    Attributes:
        name: The checkpoint's name.
        examples: The examples it was evaluated on.
        is_own_data: Whether they are a split of its run's own data.
        seen: How many of them it has seen; None: unknown, or its own data, whose splits are disjoint.
        decisions: What the threshold gives, and abstaining.
        intervals: 95 % intervals over examples, by metric.
        precision: Of the matrix products.
        backend: What ran the model.
    """

    name: str
    examples: Examples
    is_own_data: bool
    seen: SeenCounts | None
    measured: Measurement
    decisions: Decisions
    intervals: dict[str, Interval]
    precision: str
    backend: BackendName = "torch"
    rival: Rival | None = None

    def as_dict(self) -> dict[str, Any]:
        """The document that `rdrop evaluate --json` prints."""
        examples, measured = self.examples, self.measured
        document: dict[str, Any] = {
            "checkpoint": self.name,
            "data": examples.name,
            "split": examples.split,
            "examples": measured.metrics["examples"],
            "metrics": measured.metrics,
            "intervals": {name: [bounds.low, bounds.high] for name, bounds in self.intervals.items()},
            "confusion_matrix": measured.confusion_matrix,
            "labels": list(measured.labels),
            "positive_label": measured.labels[measured.positive] if len(measured.labels) == 2 else None,
            "rejected": len(examples.rejected),
            "left_out": dict(examples.left_out),
            "columns": dict(examples.columns),
            "precision": self.precision,
            "backend": self.backend,
            **self.decisions.as_dict(),
        }
        if not self.is_own_data:
            document["seen"] = _seen_as_dict(self.seen)
        if rival := self.rival:
            compared = rival.compared.as_dict()
            document["against"] = {
                "checkpoint": rival.name,
                "same_data": rival.same_data,
                "precision": rival.precision,
                "backend": rival.backend,
                "seen": _seen_as_dict(rival.seen),
                **compared,
                "metrics": {**compared["metrics"], **rival.calibrated},
            }
        return document


def evaluate(
    checkpoint: str,
    data: str | None = None,
    *,
    split: str = "test",
    columns: ColumnNames | None = None,
    label_map: Mapping[str, str] | None = None,
    allow_rejects: bool = False,
    positive_label: str | None = None,
    against: str | None = None,
    choose_threshold: Choose | None = None,
    save_threshold: bool = False,
    backend: BackendChoice = "torch",
    precision: Precision | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    trust_remote_code: bool = False,
    notice: Notice = no_notice,
    on_progress: Progress = no_progress,
) -> Evaluation:
    """Measure a checkpoint as `rdrop evaluate` does.

    Args:
        checkpoint: A run or checkpoint folder, the name of a run under runs/, or a hub id.
        data: A prepared folder or a source; None: the data of the checkpoint's run.
        split: Which split to use; data without splits is used whole.
        columns: The columns of `data`; those not named are the checkpoint's.
        label_map: The class for each label that has another name in `data`.
        allow_rejects: Leave out rows of `data` that cannot be used, however many there are.
        positive_label: The positive class for F1, precision, recall and ROC-AUC; None: the one with id 1.
        against: Another checkpoint to compare with on the same examples.
        choose_threshold: What a threshold is chosen for, on the run's validation split; `none`: use none; None: the one
            that is saved with the run, if there is one.
        save_threshold: Save it with the run, for `rdrop predict`; with `none`, remove the one that is saved.
        backend: Like `precision`, `device`, `batch_size`, `trust_remote_code` and `notice`, an argument of
            `open_classifier`.
        on_progress: Called while examples are read, classified and resampled.

    Raises:
        CheckpointError: there is no such checkpoint, it is not a classifier, or `against` has other classes; or a
            threshold is to be chosen for one that is not part of a run, or saved with a run that cannot be changed.
        ModelError: a checkpoint cannot be loaded, or fails on this device.
        DataError: the data cannot be read, or does not match the checkpoint; or no threshold can be chosen.
        ConfigError: there is no such device, or the backend does not take it; or there is no threshold to save.
        StorageError: the run cannot be written.
    """
    needs_weights = backend == "torch"
    own = find_checkpoint(checkpoint, verify=needs_weights)
    other = find_checkpoint(against, verify=needs_weights) if against is not None else None
    for each in (own, other):
        if each is not None and (remark := each.remark):
            notice(remark)
    save_in = check_choice(own, choose_threshold, save=save_threshold)
    examples = _read(own, data, split, columns or ColumnNames(), allow_rejects, on_progress)
    from rdrop_cli.core.inference.backends.choice import open_classifier
    from rdrop_cli.core.inference.measuring import class_order, classify, measure

    load = partial(
        open_classifier, backend=backend, precision=precision, device=device, batch_size=batch_size,
        trust_remote_code=trust_remote_code, notice=notice, set_threads=True, on_progress=on_progress,
    )  # fmt: skip
    classifier = load(own)
    check_classes(choose_threshold, len(classifier.labels))
    if other is not None:
        second = load(other)
        order = class_order(second.labels, classifier.labels, other.name)
    measured = measure(
        classifier,
        examples,
        positive_label=positive_label,
        label_map=label_map,
        label_ids=own.label_ids if data is not None else None,
        on_progress=on_progress,
    )
    decisions = decide(
        classifier,
        own,
        measured,
        choose=choose_threshold,
        save_in=save_in,
        measured_is_validation=data is None and split == SPLIT,
        on_progress=on_progress,
    )
    models = [measured.predictions]
    if other is not None:
        theirs = classify(second, examples, on_progress, f" with {other.name}")
        models.append(Predictions(measured.predictions.labels, theirs[:, order]))
    drawn = resample(models, positive=measured.positive, on_progress=partial(on_progress, "Resampling"))
    return Evaluation(
        own.name,
        examples,
        is_own_data=data is None,
        seen=count_seen(own, examples) if data is not None else None,
        measured=measured,
        decisions=decisions,
        intervals={name: interval(values[0]) for name, values in drawn.items()},
        precision=classifier.backend.precision,
        backend=classifier.backend.name,
        rival=None if other is None else _compare(own, other, second, examples, models, drawn, measured.positive),
    )


def _read(
    own: Checkpoint, data: str | None, split: str, columns: ColumnNames, allow_rejects: bool, on_progress: Progress
) -> Examples:
    if data is None:
        return examples_of_run(own, split, on_progress)
    return examples_of_source(
        data,
        split,
        named=columns,
        checkpoint=own,
        hub_config=HubConfig(),
        allow_rejects=allow_rejects,
        on_progress=on_progress,
    )


def _compare(
    own: Checkpoint,
    other: Checkpoint,
    second: Classifier,
    examples: Examples,
    models: list[Predictions],
    drawn: dict[str, NDArray[np.float64]],
    positive: int,
) -> Rival:
    from rdrop_cli.core.metrics.head_to_head import head_to_head  # it needs scipy

    compared = head_to_head(models[0], models[1], drawn, positive=positive)
    same = trained_on_the_same(own, other)
    theirs, backend = models[1], second.backend
    calibrated = calibrated_metrics(
        theirs.labels, theirs.probabilities, second.temperature if second.calibration else None
    )
    return Rival(other.name, count_seen(other, examples), same, backend.precision, backend.name, compared, calibrated)


def _seen_as_dict(counts: SeenCounts | None) -> dict[str, int] | None:
    return None if counts is None else asdict(counts)
