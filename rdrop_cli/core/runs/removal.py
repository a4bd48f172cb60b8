"""Removing runs, or their checkpoints alone: checked as a whole before anything is removed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.claim import is_vacant, remove_lock
from rdrop_cli.core.runs.finding import foreign, is_run, named_folder
from rdrop_cli.core.runs.summary import disk_use
from rdrop_cli.core.storage.files import sweep, unwritable
from rdrop_cli.core.storage.lock import has_writer, only_writer
from rdrop_cli.errors import CheckpointError


@dataclass(frozen=True)
class Removal:
    """What is to be removed.

    Attributes:
        run: The folder.
        checkpoints_only: The run stays, without its checkpoints.
        is_finished: Nothing is left to do in the run.
        size: Bytes that become free.
        kept: What stays, by name: what is not of a run, and what a link leads to.
    """

    run: Path
    checkpoints_only: bool
    is_finished: bool
    size: int
    kept: tuple[str, ...]


def plan_removal(names: Sequence[str], folder: Path = layout.RUNS, *, checkpoints_only: bool = False) -> list[Removal]:
    """Check that all of the named runs can be removed; nothing is removed yet.

    Raises:
        CheckpointError: a name that is no run's, a run that is being written or, for `checkpoints_only`, unfinished.
    """
    runs = {run.resolve(): run for run in (named_folder(name, folder) for name in names)}
    for run in runs.values():
        _check(run, checkpoints_only)
    return [_removal(run, checkpoints_only) for run in runs.values()]


def remove(removal: Removal) -> None:
    """Remove what was planned. A kill leaves a run that can be removed again.

    Raises:
        CheckpointError: another process writes there by now.
        StorageError: something cannot be removed.
    """
    run = removal.run
    with contextlib.ExitStack() as claims:
        claims.enter_context(only_writer(run))
        sweep(run)
        if removal.checkpoints_only:
            _remove_checkpoints(run)
            return
        layout.clear_run(run)
        _remove_folder(run, claims)


def _check(run: Path, checkpoints_only: bool) -> None:
    if not is_run(run) and (checkpoints_only or not is_vacant(run)):
        raise CheckpointError(
            f"{run}: is not a run, so nothing is removed", "Remove it by other means, if you mean to."
        )
    # A comparison has its whole folder, and reads what its cells in FOLDER/ARM/seedN came to.
    if any(map(has_writer, (run, *run.absolute().parents[:2]))):
        raise CheckpointError(f"{run}: is being written by another process", "Wait until it ends, or stop it first.")
    if checkpoints_only and not (run / layout.METRICS).is_file():
        raise CheckpointError(
            f"{run}: this run has not finished and resumes from its checkpoints",
            f"Finish it with: {layout.resume_command(run)}; or remove the whole run, without --checkpoints.",
        )


def _removal(run: Path, checkpoints_only: bool) -> Removal:
    disk = disk_use(run)
    names = [layout.CHECKPOINTS] if checkpoints_only else sorted(layout.OF_A_RUN)
    links = [f"{run / name} links to" for name in names if (run / name).is_symlink()]
    others = [] if checkpoints_only else foreign(run)
    size = (
        disk[layout.CHECKPOINTS] if checkpoints_only else sum(disk.values()) - sum(_size(run / name) for name in others)
    )
    kept = (*others, *(f"what {link}" for link in links))
    return Removal(run, checkpoints_only, (run / layout.METRICS).is_file(), size, kept)


def _size(path: Path) -> int:
    return sum(disk_use(path).values()) if path.is_dir() and not path.is_symlink() else path.lstat().st_size


def _remove_checkpoints(run: Path) -> None:
    checkpoints = run / layout.CHECKPOINTS
    try:
        if checkpoints.is_symlink():
            checkpoints.unlink()
        elif checkpoints.is_dir():
            shutil.rmtree(checkpoints)
    except OSError as error:
        raise unwritable(checkpoints, error) from error


def _remove_folder(run: Path, claims: contextlib.ExitStack) -> None:
    """Remove a cleared folder, unless something foreign is left in it."""
    folder = run.resolve()
    try:
        remove_lock(folder, claims)
        if any(folder.iterdir()):
            return
        folder.rmdir()
        if run.is_symlink():
            run.unlink()
    except OSError as error:
        raise unwritable(run, error) from error
