"""Claim a run folder, so that no other process writes to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rdrop_cli import processes
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.finding import foreign, is_run
from rdrop_cli.core.storage.files import is_leftover, make_folder, sweep
from rdrop_cli.core.storage.lock import LOCK, only_writer, refuse_if_in_use
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    from rdrop_cli.schema import Config


@contextlib.contextmanager
def claim_run(run: Path | None, config: Config) -> Iterator[Path]:
    """Hold the lock of a run folder while the block runs.

    A new folder is removed if the block leaves no run in it. With several processes, only the main one claims.

    Args:
        run: The folder; None: a new one under runs/, named after data, model, alpha and seed.

    Raises:
        CheckpointError: another process holds the lock.
        StorageError: the folder cannot be written to.
    """
    if not processes.is_main_process():
        yield run or layout.RUNS  # the main process sends its folder later (`set_up_training`)
        return
    with contextlib.ExitStack() as claims:
        is_new = run is None or not run.exists()
        folder = _claim(run, claims) if run is not None else _claim_new(config, claims)
        sweep(folder)
        sweep(folder / layout.CHECKPOINTS)
        sweep(folder / layout.BEST)
        try:
            yield folder
        finally:
            if is_vacant(folder):
                with contextlib.suppress(OSError):
                    remove_lock(folder, claims)
                    if is_new:
                        folder.rmdir()


def _claim(folder: Path, claims: contextlib.ExitStack) -> Path:
    make_folder(folder)
    claims.enter_context(only_writer(folder))
    return folder


def remove_lock(folder: Path, claims: contextlib.ExitStack) -> None:
    """Remove the lock's file while it is still locked, so that no other process's lock can be removed.

    Windows cannot remove an open file, so there the lock is released first. If another training takes it at that
    moment, the file is open again and is not removed.
    """
    try:
        (folder / LOCK).unlink(missing_ok=True)
    except PermissionError:
        claims.close()
        (folder / LOCK).unlink(missing_ok=True)


def _claim_new(config: Config, claims: contextlib.ExitStack) -> Path:
    for folder in layout.new_run_folders(_name_of(config)):
        if folder.exists() and not is_vacant(folder):
            continue
        with contextlib.suppress(CheckpointError):  # another training has just taken this name
            return _claim(folder, claims)
    raise AssertionError("there is no end of names")


def check_run_folder(run: Path, overwrite: bool = False) -> None:
    """Refuse a folder that a new run must not use.

    Args:
        overwrite: The folder may contain a run, which will be replaced.

    Raises:
        CheckpointError: the folder is in use, or contains a run (without `overwrite`) or something else.
    """
    if not run.exists() and not run.is_symlink():
        return
    if not run.is_dir():
        raise CheckpointError(f"{run}: already exists and is not a folder", "Give another --out.")
    refuse_if_in_use(run)
    if is_vacant(run):
        return
    others = foreign(run)
    if not others and not is_run(run):
        others = sorted(path.name for path in run.iterdir() if path.name != LOCK and not is_leftover(path))
    if others:
        raise CheckpointError(
            f"{run}: contains {others[0]}, which is not part of a run, so rdrop does not write to this folder",
            "Give another --out.",
        )
    if not overwrite:
        way_on = "" if (run / layout.METRICS).is_file() else ", --resume to continue it"
        raise CheckpointError(f"{run}: already exists", f"Give another --out{way_on}, or --overwrite to replace it.")


def is_vacant(run: Path) -> bool:
    """True for a folder in which no run has begun; a training that was killed early may have left a few files."""
    return run.is_dir() and all(path.name == LOCK or is_leftover(path) for path in run.iterdir())


def _name_of(config: Config) -> list[str]:
    data = Path(config.data.source).name.split(".")[0]
    return [data, Path(config.model.name).name, f"alpha{config.rdrop.alpha:g}", f"seed{config.train.seed}"]
