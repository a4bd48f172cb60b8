"""The export at the end of a training, which never makes a finished training fail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from rdrop_cli import processes, wording
from rdrop_cli.core.exporting.export import ExportResult, export_run
from rdrop_cli.core.runs import layout, onnx_export
from rdrop_cli.core.runs.checkpoint import find_checkpoint
from rdrop_cli.core.storage import extras
from rdrop_cli.errors import RDropError, one_line

if TYPE_CHECKING:
    from rdrop_cli.core.progress import Progress

MOST_TEXTS = 256
_COPIES = 4
"""Of the weights that are in memory while an export is checked."""


@dataclass(frozen=True)
class Attempt:
    """What came of the export.

    Attributes:
        exported: The export; None: there is none.
        problem: Why there is none.
        can_retry: `rdrop export` may succeed where this did not.
    """

    exported: ExportResult | None = None
    problem: str | None = None
    can_retry: bool = True


def export_after_training(run: Path, *, trust_remote_code: bool, on_progress: Progress) -> Attempt:
    """Export the best model of a run that has just finished, in float32.

    Args:
        run: Its folder, whose lock must have been released.
        trust_remote_code: Run Python code that comes with the model.
        on_progress: Called while the model is exported and compared.
    """
    if problem := extras.ONNX.problem():
        return Attempt(problem=f"{problem} ({extras.ONNX.install})", can_retry=False)
    if processes.world_size() > 1:
        return Attempt(problem="several processes trained it")
    size = sum(file.stat().st_size for file in onnx_export.weights_of(run / layout.BEST))
    if _COPIES * size > psutil.virtual_memory().available:
        return Attempt(problem=f"{wording.size(_COPIES * size)} of memory are needed and not available")
    try:
        checkpoint = find_checkpoint(str(run))
        exported = export_run(
            checkpoint, most_texts=MOST_TEXTS, trust_remote_code=trust_remote_code, on_progress=on_progress
        )
        return Attempt(exported)
    except RDropError as error:
        return Attempt(problem=error.message)
    except OSError as error:
        return Attempt(problem=f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except MemoryError:
        return Attempt(problem="out of memory")
    except KeyboardInterrupt:
        return Attempt(problem="interrupted")
    except Exception as error:  # unforeseen, but the training has succeeded; `rdrop export --debug` shows a traceback
        return Attempt(problem=f"internal error: {type(error).__name__}: {one_line(error)}")
