"""Which folders are runs, and which of them a name means. Only reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.runs import layout
from rdrop_cli.core.storage import integrity, shell
from rdrop_cli.core.storage.files import is_leftover, user_path
from rdrop_cli.core.storage.lock import LOCK
from rdrop_cli.core.storage.numbered import numbered_checkpoints
from rdrop_cli.errors import CheckpointError, ConfigError
from rdrop_cli.wording import listed

if TYPE_CHECKING:
    from rdrop_cli.schema import Config

_DEEPEST = 3
"""Folders between a folder of runs and a run: a comparison keeps ARM/seedN, comparisons/ keeps NAME/ARM/seedN."""
_RECORDED = {"data", "model", "rdrop", "train"}
"""Groups that every recorded configuration has; one that a user wrote need not."""
_IN_RECORD = {"fingerprint", "splits", "labels"}
"""Keys of every data.json; earlier versions did not sign it."""


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
        if is_run(path) or (depth == _DEEPEST and _is_closed(path)):
            yield path
        elif depth > 1 and os.access(path, os.R_OK):
            yield from _runs_in(path, depth - 1)


def _is_closed(folder: Path) -> bool:
    """True of a folder that cannot be looked into: it may well be a run."""
    try:
        next(folder.iterdir(), None)
    except OSError:
        return True
    return False


def is_run(folder: Path) -> bool:
    """True of a folder that a training made, told by what only rdrop writes, however damaged the rest is.

    That is data.json, the card of a best model, a manifest of weights or, where a training was stopped before it
    wrote any of these, its lock. A configuration alone does not make a run: users write them too.
    """
    try:
        return _has_record(folder) or _has_card(folder) or _has_manifest(folder) or _has_lock(folder)
    except OSError:
        return False


def runs_by_age() -> Iterator[Path]:
    """Run folders under runs/, the most recently written first."""
    if layout.RUNS.is_dir():
        found = [path for path in layout.RUNS.iterdir() if not path.name.startswith(".")]
        yield from filter(is_run, sorted(found, key=layout.last_written, reverse=True))


def newest_unfinished() -> Path:
    """The run folder to resume if none is named.

    Raises:
        CheckpointError: there is no unfinished run.
    """
    for run in runs_by_age():
        if not (run / layout.METRICS).is_file():
            return run
    raise CheckpointError(f"no unfinished run found in {layout.RUNS}/", "Name the run's folder: --out RUN --resume.")


def recorded_config(run: Path) -> Config:
    """A run's configuration as it stands in its file, for showing.

    Raises:
        CheckpointError: there is none.
        ConfigError: it does not hold.
    """
    from rdrop_cli.config import load_config  # slow to import, and a prediction does without

    if not (run / layout.CONFIG).is_file():
        raise CheckpointError(f"{run / layout.CONFIG}: file not found")
    return load_config(str(run / layout.CONFIG))


def foreign(run: Path) -> list[str]:
    """What is in a run folder and is not of a run, by name."""
    return sorted(path.name for path in run.iterdir() if path.name not in layout.OF_A_RUN and not is_leftover(path))


def named_folder(name: str, folder: Path = layout.RUNS) -> Path:
    """The folder that a name means: a run in `folder`; what has a separator is a path first.

    Raises:
        CheckpointError: there is none.
        StorageError: a name that is no path.
    """
    path = user_path(name)
    parts = re.split(r"[/\\]" if os.altsep else "/", name)
    is_path = path.is_absolute() or len(parts) > 1 or name in (".", "..")
    if is_path and path.is_dir():
        return path
    inside = folder / path
    if not path.is_absolute() and parts[0] not in ("", ".", "..") and ".." not in parts and inside.is_dir():
        return inside
    if not is_path and name and path.is_dir():
        raise CheckpointError(f"{name}: no such run in {folder}", f"If you mean the folder, give .{os.sep}{name}.")
    names = run_names(folder)
    known = f"Runs: {listed(names, 5)}." if names else f"There are no runs in {folder} yet."
    raise CheckpointError(f"{name}: no such run in {folder}{', and no such folder' if is_path else ''}", known)


def named_run(name: str, folder: Path = layout.RUNS) -> Path:
    """The run that a name means, as `named_folder`.

    Raises:
        CheckpointError: there is none, or it is no run.
        StorageError: a name that is no path.
    """
    run = named_folder(name, folder)
    if not is_run(run) and not _is_closed(run):
        raise CheckpointError(f"{run}: is not a run (no {layout.CONFIG} written by rdrop train)", "See: rdrop runs.")
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


def comparison_of(run: Path) -> Path | None:
    """The folder of the comparison that a run is part of, in FOLDER/ARM/seedN; None for any other run."""
    folder = run.parent.parent if len(run.parts) > 2 else run.absolute().parent.parent
    is_cell = re.fullmatch(r"seed\d+", run.name) is not None and (folder / LOCK).is_file()
    return folder if is_cell else None


def _has_record(folder: Path) -> bool:
    record = _read(folder / layout.DATA)
    return integrity.checksum_holds(record) or record.keys() >= _IN_RECORD


def _has_card(folder: Path) -> bool:
    return "rdrop" in _read(folder / layout.BEST / layout.CARD)


def _has_manifest(folder: Path) -> bool:
    sealed = (folder / layout.BEST, *numbered_checkpoints(folder / layout.CHECKPOINTS))
    return any(_read(path / integrity.MANIFEST).keys() >= {"format", "files"} for path in sealed)


def _has_lock(folder: Path) -> bool:
    """A lock beside the configuration of a training or, if that is damaged, beside nothing but a run's small files."""
    if not (folder / LOCK).is_file():
        return False
    try:
        return recorded_config(folder).model_fields_set >= _RECORDED
    except CheckpointError:  # without a configuration, no training has begun here
        return False
    except ConfigError:
        return not foreign(folder) and not any(path.is_dir() for path in folder.iterdir())


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty if it is missing or damaged."""
    try:
        return layout.read_json(path)
    except CheckpointError:
        return {}
