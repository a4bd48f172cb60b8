"""Removing runs, or their checkpoints alone: checked as a whole before anything is removed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.claim import is_vacant, remove_lock
from rdrop_cli.core.runs.finding import comparison_of, foreign, is_run, named_folder
from rdrop_cli.core.runs.summary import PARTS, disk_use
from rdrop_cli.core.storage import shell
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
        link_to: The folder that `run` is a link to: only the link is removed. None: it is no link.
        comparison: The folder of the comparison whose results still include the run afterwards, if any.
    """

    run: Path
    checkpoints_only: bool
    is_finished: bool
    size: int
    kept: tuple[str, ...]
    link_to: Path | None = None
    comparison: Path | None = None

    @property
    def is_empty(self) -> bool:
        """True where only the checkpoints are to be removed and there are none."""
        checkpoints = self.run / layout.CHECKPOINTS
        return self.checkpoints_only and not (checkpoints.is_dir() and any(checkpoints.iterdir()))


def plan_removal(names: Sequence[str], folder: Path = layout.RUNS, *, checkpoints_only: bool = False) -> list[Removal]:
    """Check that all of the named runs can be removed; nothing is removed yet.

    Raises:
        CheckpointError: a name that is no run's, a run that is being written or, for `checkpoints_only`, unfinished.
        StorageError: a folder cannot be written to.
    """
    runs = {_identity(run): run for run in (named_folder(name, folder) for name in names)}
    for run in runs.values():
        _check(run, checkpoints_only)
        _check_access(run, checkpoints_only)
    links_first = sorted(runs.values(), key=lambda run: not run.is_symlink())  # a link may lead to another of them
    return [_removal(run, checkpoints_only) for run in links_first]


def remove(removal: Removal) -> None:
    """Remove what was planned, if it still may be. A kill leaves a run that can be removed again, or an empty folder.

    Raises:
        CheckpointError: another process writes there by now, or the run is no longer what was planned.
        StorageError: something cannot be removed.
    """
    run = removal.run
    if _target(run) != removal.link_to or not run.is_dir():
        raise CheckpointError(f"{run}: has changed meanwhile, so it is not removed", "Run the command again.")
    _check(run, removal.checkpoints_only)
    if removal.link_to is not None:
        _unlink(run)
        return
    with contextlib.ExitStack() as claims:
        claims.enter_context(only_writer(run))
        _check(run, removal.checkpoints_only, has_lock=True)  # a training may have ended before the lock was taken
        sweep(run)
        if removal.checkpoints_only:
            _remove_checkpoints(run)
            return
        layout.clear_run(run)
        _remove_folder(run, claims)


def _identity(run: Path) -> Path:
    """The same for all names of a folder; a link to it is another matter."""
    return run.parent.resolve() / run.name if run.is_symlink() else run.resolve()


def _target(run: Path) -> Path | None:
    return run.resolve() if run.is_symlink() else None


def _check(run: Path, checkpoints_only: bool, *, has_lock: bool = False) -> None:
    """Refuse what must not be removed.

    Args:
        has_lock: This process holds the run's lock.
    """
    is_rest = not checkpoints_only and is_vacant(run) and any(run.iterdir())
    if not is_run(run) and not is_rest:
        raise CheckpointError(f"{run}: is not a run, so nothing is removed", "Delete it yourself if you meant to.")
    target = _target(run)
    if checkpoints_only and target is not None:
        command = shell.join(["rdrop", "runs", "rm", "--checkpoints", str(target)])
        raise CheckpointError(f"{run}: a link to {target}, so nothing is removed", f"Name the folder itself: {command}")
    if not checkpoints_only and target is None and Path.cwd().is_relative_to(run.resolve()):
        raise CheckpointError(f"{run}: the current folder is in it, so it is not removed", "Change to another first.")
    # A comparison has its whole folder, and reads what its cells in FOLDER/ARM/seedN came to.
    above = {*run.absolute().parents[:2], *run.resolve().parents[:2]}
    if any(map(has_writer, above if has_lock else {run, *above})):
        raise CheckpointError(f"{run}: is being written by another process", "Wait until it ends, or stop it first.")
    if checkpoints_only and not (run / layout.METRICS).is_file():
        raise CheckpointError(
            f"{run}: this run has not finished and resumes from its checkpoints",
            f"Finish it with: {layout.resume_command(run)}; or remove the whole run, without --checkpoints.",
        )


def _check_access(run: Path, checkpoints_only: bool) -> None:
    """Refuse a run of which some folder could not be emptied or removed.

    Raises:
        StorageError: it names the folder.
    """
    folders = [] if checkpoints_only else [run.parent]
    if not run.is_symlink():
        parts = [run / name for name in ([layout.CHECKPOINTS] if checkpoints_only else PARTS)]
        inside = (folder for part in parts if not part.is_symlink() for folder, _, _ in os.walk(part))
        folders += [run, *map(Path, inside)]
    for folder in folders:
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise unwritable(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _removal(run: Path, checkpoints_only: bool) -> Removal:
    is_finished = (run / layout.METRICS).is_file()
    comparison = None if checkpoints_only or not is_finished else comparison_of(run)
    if comparison is not None and not any(comparison.glob("results.*")):
        comparison = None
    if target := _target(run):
        return Removal(run, checkpoints_only, is_finished, 0, (), target, comparison)
    disk = disk_use(run)
    names = [layout.CHECKPOINTS] if checkpoints_only else sorted(layout.OF_A_RUN)
    links = [f"{run / name} links to" for name in names if (run / name).is_symlink()]
    others = [] if checkpoints_only else foreign(run)
    size = (
        disk[layout.CHECKPOINTS] if checkpoints_only else sum(disk.values()) - sum(_size(run / name) for name in others)
    )
    kept = (*others, *(f"what {link}" for link in links))
    return Removal(run, checkpoints_only, is_finished, size, kept, comparison=comparison)


def _size(path: Path) -> int:
    return sum(disk_use(path).values()) if path.is_dir() and not path.is_symlink() else path.lstat().st_size


def _unlink(link: Path) -> None:
    try:
        link.unlink()
    except OSError as error:
        raise unwritable(link, error) from error


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
        if not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        raise unwritable(run, error) from error
