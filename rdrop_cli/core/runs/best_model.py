"""Save a run's best model, with its cards, as best/."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import __version__
from rdrop_cli.core.data.class_weights import class_weights
from rdrop_cli.core.runs import calibration as calibrations
from rdrop_cli.core.runs import layout, onnx_export
from rdrop_cli.core.runs.model_card import model_card
from rdrop_cli.core.runs.record import data_record
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.files import write_text, writing_folder
from rdrop_cli.core.storage.numbered import LOSS_METER, RAW_WEIGHTS, step_of
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.core.runs.calibration import Calibration
    from rdrop_cli.schema import Config

_OF_TRAINING = (
    "optimizer.*",
    "scheduler.*",
    "scaler.*",
    "rng_state*",
    "trainer_state.json",
    LOSS_METER,
    RAW_WEIGHTS,
    integrity.MANIFEST,
)
"""Files of a checkpoint that only resuming needs."""
_EDITABLE = (layout.README, layout.CARD, "config.json")
"""Files of best/ that users may edit; they are left out of the manifest."""


def checkpoint_card(config: Config, data: Prepared) -> dict[str, Any]:
    """The content of rdrop.json: how the model expects its input, and how it was trained."""
    return {
        "rdrop": __version__,
        "alpha": config.rdrop.alpha,
        "ce_reduction": config.rdrop.ce_reduction,
        "label_smoothing": config.train.label_smoothing,
        "class_weights": class_weights(config.train.class_weights, data.class_counts("train")),
        "seed": config.train.seed,
        "max_length": config.model.max_length,
        "precision": config.train.precision,
        "batch_size": config.train.eval_batch_size,
        "columns": data.columns,
        "labels": list(data.labels.names),
        "label_ids": data.report.get("label_ids", {}),
    }


def save_best(checkpoint: Path, config: Config, data: Prepared, folder: Path) -> None:
    """Copy the files of a checkpoint that `from_pretrained` loads, and add cards; nothing is pickled.

    Since it is a copy, it can be made again if it is lost or damaged.

    Args:
        folder: The folder to write; its earlier content is replaced.

    Raises:
        StorageError: it cannot be written.
    """
    with writing_folder(folder) as staging:
        shutil.copytree(checkpoint, staging, ignore=shutil.ignore_patterns(*_OF_TRAINING), dirs_exist_ok=True)
        card = {**checkpoint_card(config, data), "step": step_of(checkpoint)}
        (staging / layout.CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        readme = model_card(config, data.labels.names, data_record(data), {})
        (staging / layout.README).write_text(readme, encoding="utf-8")
        integrity.seal(staging, leave_out=_EDITABLE)


def record_calibration(
    folder: Path, calibration: Calibration, change_weights: Callable[[Path], None] | None = None
) -> None:
    """Add a calibration to the card of a saved best model, and replace both at once if its weights change too.

    An ONNX export is left out where the weights change, because it would be out of date.

    Args:
        folder: best/.
        change_weights: Called with a copy of the folder, to change the weights there. If it raises, best/ stays as it
            is.

    Raises:
        StorageError: it cannot be written.
    """
    card = json.dumps({**layout.read_json(folder / layout.CARD), calibrations.KEY: calibration.as_dict()}, indent=2)
    if change_weights is None:
        write_text(folder / layout.CARD, card + "\n")
        return
    with writing_folder(folder) as staging:
        left_out = shutil.ignore_patterns(integrity.MANIFEST, onnx_export.FOLDER, ".*.partial", ".*.old")
        shutil.copytree(folder, staging, ignore=left_out, dirs_exist_ok=True)
        change_weights(staging)
        (staging / layout.CARD).write_text(card + "\n", encoding="utf-8")
        integrity.seal(staging, leave_out=_EDITABLE)


def is_raw(folder: Path) -> bool:
    """True for a best model that is there and was not calibrated, so that a temperature can be fitted to it."""
    try:
        return calibrations.KEY not in layout.read_json(folder / layout.CARD)
    except CheckpointError:
        return False


def step_of_best(folder: Path) -> int | None:
    """The step of the checkpoint that `folder` was copied from; None if it is damaged, calibrated or something else.

    A calibrated model counts as none, because a temperature must be fitted to raw logits: it is copied again.
    """
    try:
        card = layout.read_json(folder / layout.CARD)
        step = None if calibrations.KEY in card else card.get("step")
        layout.read_json(folder / "config.json")
    except CheckpointError:
        return None
    return step if isinstance(step, int) and integrity.damage(folder) is None else None
