"""Checkpoints by their number: folders that are named after the optimizer step at which they were saved."""

from __future__ import annotations

import re
from pathlib import Path

LOSS_METER = "loss_meter.json"
"""A file in a checkpoint with the loss sums since the last log entry, and the micro-batch size in use."""
RAW_WEIGHTS = "raw_weights.safetensors"
"""A file in a checkpoint with the weights that training continues with, where its model has the averaged ones."""


def numbered_checkpoints(folder: Path) -> list[Path]:
    """The `checkpoint-STEP` folders in a folder, most steps first; none if it does not exist.

    Raises:
        OSError: the folder cannot be read.
    """
    if not folder.is_dir():
        return []
    by_step = {
        int(match[1]): path
        for path in folder.iterdir()
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and path.is_dir()
    }
    return [by_step[step] for step in sorted(by_step, reverse=True)]


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which a checkpoint was saved."""
    return int(checkpoint.name.rpartition("-")[2])
