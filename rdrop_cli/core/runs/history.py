"""history.csv: what a training logged."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rdrop_cli.core.metrics.classification import SCALARS
from rdrop_cli.core.storage.files import write_text

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
    """A Trainer log entry in the names of history.csv; empty when it has nothing for it.

    What is undefined (a metric) or infinite (the gradient of a float16 step that was skipped) is None.
    """
    row = {}
    for key, value in entry.items():
        name = f"validation_{key.removeprefix('eval_')}" if key.startswith("eval_") else key
        if name in HISTORY_COLUMNS:
            row[name] = value if math.isfinite(value) else None
    return row if row.keys() - {"step", "epoch"} else {}


def write_history(path: Path, log_history: Iterable[Mapping[str, Any]]) -> None:
    """Write history.csv anew from a training's state, so that it has neither holes nor repeats.

    Raises:
        StorageError: it cannot be written.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, HISTORY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for row in map(history_row, log_history) if row)
    write_text(path, buffer.getvalue())
