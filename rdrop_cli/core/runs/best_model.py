"""Save a run's best model, with its cards, as best/."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import __version__
from rdrop_cli.core.data.audit import class_balance
from rdrop_cli.core.data.class_weights import class_weights
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.model_card import model_card
from rdrop_cli.core.runs.record import data_record
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.files import writing_folder
from rdrop_cli.core.storage.numbered import step_of
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.schema import Config


README = "README.md"
_OF_TRAINING = (
    "optimizer.*",
    "scheduler.*",
    "scaler.*",
    "rng_state*",
    "trainer_state.json",
    "loss_meter.json",
    integrity.MANIFEST,
)
"""Files of a checkpoint that only resuming needs."""
_EDITABLE = (README, layout.CARD, "config.json")
"""Files of best/ that users may edit; they are left out of the manifest."""


def checkpoint_card(config: Config, data: Prepared) -> dict[str, Any]:
    """The content of rdrop.json: how the model expects its input, and how it was trained."""
    return {
        "rdrop": __version__,
        "alpha": config.rdrop.alpha,
        "ce_reduction": config.rdrop.ce_reduction,
        "label_smoothing": config.train.label_smoothing,
        "class_weights": class_weights(
            config.train.class_weights, class_balance(data.splits["train"].labels.tolist(), data.labels)
        ),
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
        (staging / README).write_text(readme, encoding="utf-8")
        integrity.seal(staging, leave_out=_EDITABLE)


def step_of_best(folder: Path) -> int | None:
    """The step of the checkpoint that `folder` was copied from; None if it is damaged or something else."""
    try:
        step = layout.read_json(folder / layout.CARD).get("step")
        layout.read_json(folder / "config.json")
    except CheckpointError:
        return None
    return step if isinstance(step, int) and integrity.damage(folder) is None else None
