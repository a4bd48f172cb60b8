"""Which folders are runs, and which of them a name means. Only reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rdrop_cli.config import load_config
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.storage import shell
from rdrop_cli.core.storage.files import is_leftover, user_path
from rdrop_cli.core.storage.lock import LOCK
from rdrop_cli.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from rdrop_cli.schema import Config

_DEEPEST = 3
"""Folders between a folder of runs and a run: a comparison keeps ARM/seedN, comparisons/ keeps NAME/ARM/seedN."""
_RECORDED = {"data", "model", "rdrop", "train"}
"""Groups that every recorded configuration has; one that a user wrote need not."""


def find_runs(folder: Path) -> list[Path]:
    """The run folders in a folder and, where it holds folders of runs, in those. Hidden ones are passed over.

    Raises:
        CheckpointError: no such folder, or it is a run itself.
        OSError: it cannot be read.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder", "Give a folder of runs with --dir.")
    if is_run(folder):
        show = shell.join(["rdrop", "runs", "show", str(folder)])
        raise CheckpointError(f"{folder}: is a run, not a folder of runs", f"Look at it with: {show}")
    return list(_runs_in(folder, _DEEPEST))


def _runs_in(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_dir():
            continue
        if _may_be_run(path) if depth == _DEEPEST else is_run(path):
            yield path
        elif depth > 1 and os.access(path, os.R_OK):
            yield from _runs_in(path, depth - 1)


def _may_be_run(folder: Path) -> bool:
    """As `is_run`, and true of a run whose records are all damaged and of a folder that cannot be looked into."""
    try:
        there = {path.name for path in folder.iterdir()}
    except OSError:
        return True
    return (layout.CONFIG in there and len(there & layout.OF_A_RUN) > 1) or is_run(folder)


def is_run(folder: Path) -> bool:
    """True of a folder that a training made, told by what nothing else writes.

    That is a signed data.json, the card of an exported model, or a whole configuration: alone in a folder that holds
    nothing foreign, else beside a lock. A configuration that a user wrote, among other files, makes no run.
    """
    if _has_record(folder) or _has_card(folder):
        return True
    try:
        config = recorded_config(folder)
    except (CheckpointError, ConfigError, OSError):
        return False
    if not config.model_fields_set >= _RECORDED:
        return False
    return (folder / LOCK).is_file() or not foreign(folder)


def recorded_config(run: Path) -> Config:
    """A run's configuration as it stands in its file, for showing.

    Raises:
        CheckpointError: there is none.
        ConfigError: it does not hold.
    """
    if not (run / layout.CONFIG).is_file():
        raise CheckpointError(f"{run / layout.CONFIG}: file not found")
    return load_config(str(run / layout.CONFIG))


def foreign(run: Path) -> list[str]:
    """What is in a run folder and is not of a run, by name."""
    return sorted(path.name for path in run.iterdir() if path.name not in layout.OF_A_RUN and not is_leftover(path))


def named_folder(name: str, folder: Path = layout.RUNS) -> Path:
    """The folder that a name means: that of a run in `folder`, else a path.

    Raises:
        CheckpointError: there is none.
        StorageError: a name that is no path.
    """
    path = user_path(name)
    inside = folder / path
    if not path.is_absolute() and ".." not in path.parts and path != Path() and inside.is_dir():
        return inside
    if path.is_dir():
        return path
    names = run_names(folder)
    known = f"Runs: {', '.join(names[:5])}." if names else f"There are no runs in {folder} yet."
    raise CheckpointError(f"{name}: no such run in {folder}, and no such folder", known)


def named_run(name: str, folder: Path = layout.RUNS) -> Path:
    """The run that a name means, as `named_folder`.

    Raises:
        CheckpointError: there is none, or it is no run.
        StorageError: a name that is no path.
    """
    run = named_folder(name, folder)
    if not _may_be_run(run):
        raise CheckpointError(f"{run}: is not a run ({layout.CONFIG} of a training is missing)", "See: rdrop runs.")
    return run


def run_names(folder: Path = layout.RUNS) -> list[str]:
    """Names of the runs in a folder; none where it cannot be read."""
    try:
        return [name_in(folder, run) for run in find_runs(folder)]
    except (CheckpointError, OSError):
        return []


def name_in(folder: Path, run: Path) -> str:
    """What a run is called in a folder of runs; its path, for one elsewhere."""
    return run.relative_to(folder).as_posix() if run.is_relative_to(folder) else str(run)


def _has_record(folder: Path) -> bool:
    try:
        read_record(folder)
    except CheckpointError:
        return False
    return True


def _has_card(folder: Path) -> bool:
    try:
        return "rdrop" in layout.read_json(folder / layout.BEST / layout.CARD)
    except CheckpointError:
        return False
