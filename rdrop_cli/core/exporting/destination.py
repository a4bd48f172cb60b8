"""Where an export comes from and goes to: the run's best model, and the folder that is written."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rdrop_cli.core.runs import layout, onnx_export
from rdrop_cli.core.storage.files import is_leftover, sweep, writing_folder
from rdrop_cli.core.storage.lock import has_writer, only_writer
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    from rdrop_cli.core.runs.checkpoint import Checkpoint

_COPIED = ("config.json", onnx_export.TOKENIZER, "tokenizer_config.json", layout.CARD, layout.README)
"""Files of a checkpoint that belong to an export in a folder of its own; all but the first two may be missing."""


def check_source(checkpoint: Checkpoint) -> Path:
    """The run whose best model a checkpoint is.

    Raises:
        CheckpointError: it is another model, or its tokenizer cannot be used without Transformers.
    """
    model = Path(checkpoint.name)
    if checkpoint.run is None:
        raise CheckpointError(
            f"{checkpoint.name}: not part of a run, so there are no texts to check an export on",
            "Give a run; rdrop runs lists them.",
        )
    if model.resolve() != (checkpoint.run / layout.BEST).resolve():
        raise CheckpointError(f"{model}: only the best model of a run is exported", f"Give the run: {checkpoint.run}.")
    if not (model / onnx_export.TOKENIZER).is_file():
        raise CheckpointError(f"{model}: has no {onnx_export.TOKENIZER}, which prediction without PyTorch needs")
    return checkpoint.run


def check_out(out: Path, run: Path) -> None:
    """Refuse a folder that must not be written to, or that has anything but an earlier export to be replaced.

    Raises:
        CheckpointError: it is in the run, is the current folder, or contains something else.
    """
    target = out.resolve()
    if target.is_relative_to(run.resolve()):
        raise CheckpointError(f"{out}: is part of the run", "Give another --out; without one, the run gets the export.")
    if Path.cwd().is_relative_to(target):
        raise CheckpointError(f"{out}: is the current folder or contains it", "Give another --out.")
    if not target.exists():
        return
    if not target.is_dir():
        raise CheckpointError(f"{out}: already exists and is not a folder", "Give another --out.")
    if other := _foreign(target):
        raise CheckpointError(f"{out}: contains {other}, which is not part of an export", "Give another --out.")


def _foreign(folder: Path) -> str | None:
    """Something in a folder that no export has; None: there is nothing."""
    inner = folder / onnx_export.FOLDER
    files = ("manifest.json", *(f"{file}{end}" for file in onnx_export.FILES for end in ("", ".data")))
    names = [path.name for path in folder.iterdir() if path.name not in (*_COPIED, onnx_export.FOLDER)]
    if inner.is_dir():
        names += [f"{inner.name}/{path.name}" for path in inner.iterdir() if path.name not in files]
    elif inner.exists() or not names:
        names += [path.name for path in folder.iterdir()]  # files of a model, but no export
    return min((name for name in names if not is_leftover(Path(name))), default=None)


@contextlib.contextmanager
def place_for(run: Path, out: Path | None) -> Iterator[Path]:
    """Yield an empty folder that becomes the export's onnx/ if the block succeeds, and is removed otherwise.

    Args:
        out: A folder for everything that prediction needs; None: onnx/ beside the run's weights.

    Raises:
        CheckpointError: another process writes to the run.
        StorageError: the folder cannot be written.
    """
    model = run / layout.BEST
    if out is None:
        with only_writer(run, hint="Wait until it ends."):
            sweep(model)
            with writing_folder(model / onnx_export.FOLDER) as folder:
                yield folder
        return
    if has_writer(run):
        raise CheckpointError(f"{run}: another process is writing to this folder", "Wait until it ends.")
    with writing_folder(out.resolve()) as staging:
        for name in _COPIED:
            if (model / name).is_file():
                shutil.copy2(model / name, staging / name)
        (staging / onnx_export.FOLDER).mkdir()
        yield staging / onnx_export.FOLDER
