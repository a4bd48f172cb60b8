"""Turn failures during training into errors that say how to resume."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rdrop_cli import processes
from rdrop_cli.core.model import device as devices
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.layout import resume_command
from rdrop_cli.core.storage.files import unwritable
from rdrop_cli.errors import ModelError, StorageError

if TYPE_CHECKING:
    import torch

SMALLER = "Use --micro-batch auto, --gradient-checkpointing or a smaller --max-length."


@contextlib.contextmanager
def map_failures(run: Path, device: torch.device) -> Iterator[None]:
    """Turn failures in the block into errors that say what happened and how to resume.

    Raises:
        ModelError: the loss became infinite or NaN, or memory ran out.
        StorageError: a file cannot be written.
        ProcessLost: another process ended.
    """
    auto = "--micro-batch auto" if processes.world_size() == 1 else "--micro-batch N (a smaller one)"
    smaller = (
        f"Resume with: {resume_command(run)} {auto}, or with --set train.eval_batch_size=8 if it ran out during an"
        " evaluation; or start a new run with a smaller --max-length"
    )
    try:
        with processes.map_lost_processes(), devices.map_memory_errors(device, smaller):
            yield
    except FloatingPointError as error:
        raise ModelError(
            f"training failed: {error}",
            f"Start a new run with a lower --lr or --precision float32; {run} still contains what was saved before.",
        ) from error
    except MemoryError as error:
        raise ModelError("out of memory", smaller) from error
    except (StorageError, OSError) as error:
        cause = error.message if isinstance(error, StorageError) else unwritable(run, error).message
        has_begun = (run / layout.CONFIG).is_file()
        way_on = f"resume with: {resume_command(run)}" if has_begun else "train again"
        raise StorageError(cause, f"Fix this, then {way_on}") from error
