"""history.csv: the log of a training."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rdrop_cli.core.metrics.classification import SCALARS
from rdrop_cli.core.runs import layout
from rdrop_cli.core.storage.files import write_text
from rdrop_cli.errors import CheckpointError, one_line

HISTORY_COLUMNS = (
    "step",
    "epoch",
    "loss",
    "ce",
    "kl",
    "kl_share",
    "agreement",
    "learning_rate",
    "grad_norm",
    "examples_per_second",
    "tokens_per_second",
    *(f"validation_{name}" for name in SCALARS),
)


def history_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A Trainer log entry with the column names of history.csv; empty if it has no value for it.

    Values that are undefined (a metric) or infinite (the gradient of a skipped float16 step) become None.
    """
    row = {}
    for key, value in entry.items():
        name = f"validation_{key.removeprefix('eval_')}" if key.startswith("eval_") else key
        if name in HISTORY_COLUMNS:
            row[name] = value if math.isfinite(value) else None
    return row if row.keys() - {"step", "epoch"} else {}


def write_history(path: Path, log_history: Iterable[Mapping[str, Any]]) -> None:
    """Rewrite history.csv from a training's state, so that it has neither gaps nor repeated rows.

    Raises:
        StorageError: it cannot be written.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, HISTORY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for row in map(history_row, log_history) if row)
    write_text(path, buffer.getvalue())


def read_history(run: Path) -> list[dict[str, float | None]]:
    """The rows of a run's history.csv.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = run / layout.HISTORY
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = reader.fieldnames or ()
            if "step" not in columns:
                raise LookupError("no column step")
            return [{key: _figure(row[key]) for key in columns} for row in reader]
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: file not found") from error
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise CheckpointError(f"{path}: cannot be read ({one_line(error)})") from error


def _figure(text: str | None) -> float | None:
    value = float(text) if text else None
    return value if value is not None and math.isfinite(value) else None
