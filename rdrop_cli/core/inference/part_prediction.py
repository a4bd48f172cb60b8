"""Predict the files of an input that consists of many, one after the other, each completely or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.data.columns import ColumnNames
from rdrop_cli.core.inference import part_records
from rdrop_cli.core.inference.inputs import Inputs
from rdrop_cli.core.inference.part_records import PartRecord, digest_of
from rdrop_cli.core.inference.prediction import predict
from rdrop_cli.core.inference.writers import open_writer
from rdrop_cli.core.runs import onnx_export
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.files import make_folder
from rdrop_cli.errors import DataError

if TYPE_CHECKING:
    from rdrop_cli.core.inference.classifier import Classifier
    from rdrop_cli.core.inference.parts import Part, Parts
    from rdrop_cli.core.runs.checkpoint import Checkpoint


@dataclass(frozen=True)
class PartReading:
    """How parts are read, and which predictions keep their label.

    Attributes:
        input_format: Of all parts; None: by suffix.
        named: The columns to read; those not named are chosen.
        defaults: The columns of the checkpoint's training data.
        abstain_below: Give no label where its probability is lower; None: each text gets one.
    """

    input_format: str | None = None
    named: ColumnNames = field(default_factory=ColumnNames)
    defaults: ColumnNames = field(default_factory=ColumnNames)
    abstain_below: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a part.

    Attributes:
        record: What is recorded of it; None: it could not be read, and `error` says why.
        was_finished: An earlier command has predicted it.
        has_changed: One had, but the input has changed since, so that it was predicted again.
    """

    part: Part
    record: PartRecord | None = None
    error: str | None = None
    was_finished: bool = False
    has_changed: bool = False


@dataclass(frozen=True)
class PartsPlan:
    """What is to be done.

    Attributes:
        finished: Parts that earlier commands have predicted.
        pending: The other ones.
        changed: Names of those whose input has changed since they were predicted.
    """

    finished: tuple[Outcome, ...]
    pending: tuple[Part, ...]
    changed: frozenset[str]

    def outcome(self, part: Part, result: PartRecord | str) -> Outcome:
        """What became of a pending part: its record, or why it could not be read."""
        changed = part.name in self.changed
        if isinstance(result, str):
            return Outcome(part, error=result, has_changed=changed)
        return Outcome(part, result, has_changed=changed)


class PartPredictor:
    """Predicts parts with a loaded checkpoint.

    Args:
        checkpoint: The checkpoint that `classifier` has loaded.
        parts: All parts, of which any may be predicted.

    Attributes:
        settings: Whatever the predictions depend on, as it is recorded.
    """

    def __init__(self, classifier: Classifier, checkpoint: Checkpoint, parts: Parts, reading: PartReading) -> None:
        self.classifier = classifier
        self.output = parts.output
        self.reading = reading
        self.settings = _settings(classifier, checkpoint, parts.root, reading)
        self._digest = digest_of(self.settings)

    def predict(self, part: Part, on_row: Callable[[], None] = lambda: None) -> PartRecord:
        """Write the predictions of a part, and then its record.

        Args:
            on_row: Called for each prediction.

        Raises:
            DataError: the part cannot be read, has no column with texts, or changes meanwhile. Nothing is written.
            StorageError: the predictions cannot be written.
            ModelError: the model fails.
        """
        reading, labels = self.reading, Counter[str]()
        columns = {"named": reading.named, "defaults": reading.defaults}
        before = _version(part.source)
        rows = Inputs(None, str(part.source), input_format=reading.input_format, **columns)
        rows.check()
        make_folder(part.target.parent)
        total = 0
        with open_writer(part.target, self.classifier.labels.names) as write:
            for item in predict(self.classifier, rows, abstain_below=reading.abstain_below):
                write(item)
                total += 1
                if item.label is not None:
                    labels[item.label] += 1
                on_row()
            if _version(part.source) != before:
                raise DataError(f"{part.source}: was changed while it was read")
        record = PartRecord(
            self._digest,
            *before,
            part.target.stat().st_size,
            total,
            rows.problems,
            rows.first_problem,
            dict(labels),
            total - labels.total(),
            {"text": rows.columns.text, "text_pair": rows.columns.text_pair} if rows.columns else {},
        )
        part_records.write_part(self.output, part, record)
        return record


def begin(parts: Parts, chosen: Sequence[Part], settings: dict[str, Any], *, overwrite: bool = False) -> PartsPlan:
    """Claim the folder for the predictions, and see which parts are finished.

    Args:
        chosen: The parts to predict, all or a share of them.
        settings: Those of the `PartPredictor`.
        overwrite: Predict all of them again, and replace predictions with other settings.

    Raises:
        DataError: the folder has predictions with other settings, or something else.
        StorageError: it cannot be written to.
    """
    part_records.claim(parts, settings, overwrite=overwrite)
    digest = digest_of(settings)
    finished: list[Outcome] = []
    pending: list[Part] = []
    changed: set[str] = set()
    for part in chosen:
        record = part_records.read_part(parts, part)
        if not overwrite and record is not None and part_records.is_finished(part, record, digest):
            finished.append(Outcome(part, record, was_finished=True))
            continue
        pending.append(part)
        if record is not None and part_records.has_changed(part, record):
            changed.add(part.name)
    return PartsPlan(tuple(finished), tuple(pending), frozenset(changed))


def predict_parts(
    predictor: PartPredictor, plan: PartsPlan, on_row: Callable[[Part], None] = lambda part: None
) -> Iterator[Outcome]:
    """Predict the pending parts in order; one that cannot be read does not stop the others.

    Args:
        on_row: Called for each prediction.

    Raises:
        StorageError: predictions cannot be written.
        ModelError: the model fails.
    """
    for part in plan.pending:
        result: PartRecord | str
        try:
            result = predictor.predict(part, lambda part=part: on_row(part))  # type: ignore[misc]
        except DataError as error:
            result = str(error)
        yield plan.outcome(part, result)


def _version(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return stat.st_size, stat.st_mtime_ns


def _settings(classifier: Classifier, checkpoint: Checkpoint, root: Path, reading: PartReading) -> dict[str, Any]:
    backend, threshold, named, defaults = classifier.backend, classifier.threshold, reading.named, reading.defaults
    return {
        "model": _fingerprint(checkpoint),
        "labels": list(classifier.labels.names),
        "max_length": backend.max_length,
        "backend": backend.name,
        "precision": backend.precision,
        "temperature": classifier.temperature,
        "threshold": None if threshold is None else {"value": threshold.value, "label": threshold.label},
        "abstain_below": reading.abstain_below,
        "columns": {"text": named.text or defaults.text, "text_pair": named.text_pair or defaults.text_pair},
        "input_format": reading.input_format,
        "input": str(root.resolve()),
    }


def _fingerprint(checkpoint: Checkpoint) -> str:
    """SHA-256 over a checkpoint's weights and tokenizer, as its manifest records them; a hub id is kept."""
    model = Path(checkpoint.name)
    if not model.is_dir():
        return checkpoint.name
    digests = onnx_export.digests_of_sources(model, integrity.recorded_digests(model))
    if not onnx_export.weights_of(model):  # an export alone
        digests = {**onnx_export.read_export(model / onnx_export.FOLDER).made_from, **digests}
    return digest_of(digests)
