"""Files of a finished run for comparisons and reports: its predictions on validation and test, and its cost."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rdrop_cli import __version__
from rdrop_cli.core.metrics.predictions import Predictions
from rdrop_cli.core.runs import layout
from rdrop_cli.core.storage.files import write_text, writing
from rdrop_cli.errors import CheckpointError

_NUMBERS = (
    "seconds",
    "wall_seconds",
    "examples_per_second",
    "steps",
    "planned_steps",
    "resumed_from_step",
    "best_epoch",
)
"""Keys of training.json whose values are numbers, or null."""


def save_outputs(run: Path, predictions: Mapping[str, Predictions], cost: dict[str, Any]) -> None:
    """Write the files that `load_predictions` and `load_cost` read.

    Args:
        predictions: By split, in the order of its examples; those of `layout.PREDICTIONS` are kept.
        cost: The content of training.json.

    Raises:
        StorageError: it cannot be written.
    """
    for split, name in layout.PREDICTIONS.items():
        if split not in predictions:
            continue
        split_predictions = predictions[split]
        columns = {f"class_{index}": column for index, column in enumerate(split_predictions.probabilities.T)}
        with writing(run / name) as staging:
            pq.write_table(
                pa.table({"label": split_predictions.labels, **columns}), staging.absolute(), write_page_checksum=True
            )
    write_text(run / layout.COST, json.dumps(cost, indent=2) + "\n")


def load_predictions(run: Path, split: str = "test") -> Predictions:
    """The raw predictions of a finished run on its test or validation split, before any calibration.

    Raises:
        CheckpointError: they are missing or damaged.
    """
    path = run / layout.PREDICTIONS[split]
    try:
        table = pq.read_table(path.absolute(), page_checksum_verification=True)
        labels = table["label"].to_numpy().astype(np.int64)
        columns = [table[f"class_{index}"].to_numpy() for index in range(table.num_columns - 1)]
        predictions = Predictions(labels, np.column_stack(columns).astype(np.float64))
        if not _are_sound(predictions):
            raise ValueError("not labels and probabilities of two classes or more")
        return predictions
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: file not found", f"Delete {run} and train it again.") from error
    except (OSError, LookupError, ValueError, TypeError, pa.ArrowException) as error:
        raise CheckpointError(f"{path}: damaged", f"Delete {run} and train it again.") from error


def _are_sound(predictions: Predictions) -> bool:
    rows, classes = predictions.probabilities.shape
    if rows == 0 or classes < 2 or predictions.labels.min() < 0 or predictions.labels.max() >= classes:
        return False
    return bool(np.isfinite(predictions.probabilities).all() and (predictions.probabilities >= 0).all())


def load_cost(run: Path) -> dict[str, Any]:
    """The content of a finished run's training.json.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    cost = layout.read_json(run / layout.COST)
    is_sound = all(cost.get(key) is None or layout.is_number(cost[key]) for key in _NUMBERS)
    if not is_sound or not isinstance(cost.get("versions", {}), dict):
        raise CheckpointError(f"{run / layout.COST}: damaged", f"Delete {run} and train it again.")
    return cost


def seconds_of(cost: Mapping[str, Any]) -> float:
    """Seconds that a run took, from its training.json, which has those of its last session only.

    What earlier sessions took is estimated by their steps. 0 if it is not recorded.
    """
    seconds, steps, first = (float(cost.get(key) or 0) for key in ("wall_seconds", "steps", "resumed_from_step"))
    return seconds * steps / (steps - first) if first < steps else seconds


def library_versions() -> dict[str, str]:
    """The versions that must be the same to reproduce a run's numbers on the same machine."""
    return {
        "rdrop": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "transformers")},
    }
