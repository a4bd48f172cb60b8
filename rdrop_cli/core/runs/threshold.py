"""The decision threshold of a run's best model, as best/rdrop.json records it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.runs import layout
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    from rdrop_cli.core.runs.checkpoint import Checkpoint

KEY = "threshold"
"""Of rdrop.json. A model without it predicts the most probable class."""


@dataclass(frozen=True)
class Threshold:
    """From which probability on a class is predicted, where there are two.

    Attributes:
        value: The probability, calibrated if the model is; above 0 and below 1.
        label: The name of the class.
        rule: What it was chosen for, such as `f1` or `precision=0.95`; None: not recorded.
        split: The split on which it was chosen.
        examples: The number of examples of that split.
    """

    value: float
    label: str
    rule: str | None = None
    split: str | None = None
    examples: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """As rdrop.json records it."""
        return asdict(self)

    @property
    def shown(self) -> str:
        """Its value for display, with so many digits that it is neither 0 nor 1."""
        texts = (f"{self.value:.{digits}f}" for digits in range(4, 400))
        return next(text for text in texts if 0 < float(text) < 1).rstrip("0")

    def __str__(self) -> str:
        chosen = f", chosen for {self.rule}" if self.rule else ""
        return f"Threshold {self.shown} for {self.label}{chosen}{f' on {self.split}' if self.split else ''}"


def read_threshold(card: Mapping[str, Any], where: object, names: Sequence[str] | None = None) -> Threshold | None:
    """The threshold that a card records; None: it records none.

    Args:
        card: The content of rdrop.json, which users may edit.
        where: The path of the card, for messages.
        names: The names of the model's classes; None: they are not checked.

    Raises:
        CheckpointError: it is not one, or not one for these classes.
    """
    record = card.get(KEY)
    if record is None:
        return None
    if not isinstance(record, dict):
        raise _invalid(where, f"{KEY} must be an object", record)
    value, label = record.get("value"), record.get("label")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise _invalid(where, f"{KEY}.value must be a number above 0 and below 1", value)
    if not isinstance(label, str) or (names is not None and label not in names):
        known = "the name of a class" if names is None else f"one of the classes {', '.join(names[:5])}"
        raise _invalid(where, f"{KEY}.label must be {known}", label)
    if names is not None and len(names) != 2:
        raise _invalid(where, f"{KEY} needs exactly two classes", len(names))
    rule, split, examples = record.get("rule"), record.get("split"), record.get("examples")
    return Threshold(
        float(value),
        label,
        rule if isinstance(rule, str) else None,
        split if isinstance(split, str) else None,
        examples if isinstance(examples, int) and not isinstance(examples, bool) else None,
    )


def run_to_save_in(checkpoint: Checkpoint) -> Path:
    """The run whose best model a checkpoint is, so that a threshold can be saved with it.

    Raises:
        CheckpointError: it is another model; the run is not finished, so that its best model may still change; or
            another process writes to it.
    """
    from rdrop_cli.core.storage.lock import refuse_if_in_use

    run, model = checkpoint.run, Path(checkpoint.name)
    if run is None or model.resolve() != (run / layout.BEST).resolve():
        raise CheckpointError(f"{model}: a threshold is saved with the best model of a run", "Give a run.")
    if not (run / layout.METRICS).is_file():
        raise CheckpointError(
            f"{run}: its training is not finished, so its model may still change",
            f"Resume with: {layout.resume_command(run)}",
        )
    refuse_if_in_use(run)
    return run


def save_threshold(run: Path, threshold: Threshold | None) -> None:
    """Record a threshold in best/rdrop.json and in the model card; or remove the one that is there.

    Weights, manifest and ONNX export stay as they are.

    Raises:
        CheckpointError: another process writes to the run, or rdrop.json is damaged.
        StorageError: a file cannot be written.
    """
    from rdrop_cli.core.runs.model_card import with_threshold
    from rdrop_cli.core.storage.files import write_text
    from rdrop_cli.core.storage.lock import only_writer

    path = run / layout.BEST / layout.CARD
    readme = path.with_name(layout.README)
    with only_writer(run, hint="Wait until it ends."):
        card = layout.read_json(path)
        card.pop(KEY, None)
        if threshold is not None:
            card[KEY] = threshold.as_dict()
        write_text(path, json.dumps(card, indent=2) + "\n")
        with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):  # its owner may have removed or replaced it
            text = readme.read_text(encoding="utf-8")
            if (changed := with_threshold(text, threshold)) != text:
                write_text(readme, changed)


def _invalid(where: object, problem: str, got: object) -> CheckpointError:
    return CheckpointError(f"{where}: {problem}, got {str(got)[:40]!r}", "Correct it, or remove the key.")
