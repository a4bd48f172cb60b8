"""Which run folder a training command means, and having it for itself alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rdrop_cli import processes
from rdrop_cli.config import differences, load_config, load_recorded
from rdrop_cli.core import checkpoints
from rdrop_cli.core.files import is_leftover, sweep, unwritable, user_path
from rdrop_cli.core.lock import LOCK, only_writer, refuse_if_in_use
from rdrop_cli.core.preparation import adopt_settings
from rdrop_cli.core.prepared import is_prepared
from rdrop_cli.errors import CheckpointError, ConfigError
from rdrop_cli.schema import Config

MEMORY_ONLY = (
    "train.micro_batch_size",
    "train.gradient_checkpointing",
    "train.eval_batch_size",
    "train.num_workers",
)
"""Keys that a resumed run may change, so that one that ran out of memory can go on. They change no mathematics."""


def open_run(
    config: str | None, overrides: list[tuple[str, Any]], *, out: Path | None, resume: bool, overwrite: bool = False
) -> tuple[Config, Path | None]:
    """The configuration and the folder of a run, checked without loading anything heavy or writing anything.

    Args:
        config: A recipe's name or a file; for a resumed run only if it says the same as the run's own.
        overrides: Dotted keys with their values.
        out: The run folder; None: a new one named after the run, or the newest unfinished one to resume.
        resume: Go on with a run instead of beginning one.
        overwrite: A new run may take the place of the one in `out`.

    Returns:
        The folder is None where `claimed` shall find a new name.

    Raises:
        CheckpointError: a new run's folder exists or is in use, or there is nothing to resume.
        ConfigError: the configuration does not hold, or differs from the one to resume.
    """
    if not resume:
        resolved = load_config(config, overrides)
        _check_shares(resolved)
        if out is not None and processes.is_main():
            check_place(out, overwrite)
        return resolved, out
    run = out or checkpoints.newest_unfinished()
    saved = run / checkpoints.CONFIG
    if not saved.is_file():
        raise CheckpointError(
            f"{run}: no run to resume here ({checkpoints.CONFIG} is missing)", "Train without --resume."
        )
    if (run / checkpoints.METRICS).is_file():
        raise CheckpointError(f"{run}: this run has finished", f"Look at it with: rdrop evaluate {run}")
    if processes.is_main():
        refuse_if_in_use(run)
    given = load_config(config, overrides) if config else load_recorded(saved, overrides)
    wanted, changed = as_recorded(run, given)
    _check_shares(wanted)
    if changed:
        raise ConfigError(
            f"{run}: a resumed run keeps its configuration, but {'; '.join(changed)}", "Train a new run instead."
        )
    return wanted, run


@contextlib.contextmanager
def claimed(run: Path | None, config: Config) -> Iterator[Path]:
    """Have a run folder for this process alone while the block runs.

    A new folder that the block leaves without a run is removed again. Of several processes the main one claims.

    Args:
        run: The folder; None: a new one under runs/, named after what is special about the run.

    Raises:
        CheckpointError: another process has it.
        StorageError: it cannot be written to.
    """
    if not processes.is_main():
        yield run or checkpoints.RUNS  # the main process tells the name, once they have met
        return
    with contextlib.ExitStack() as claims:
        is_new = run is None or not run.exists()
        folder = _claim(run, claims) if run is not None else _claim_new(config, claims)
        sweep(folder)
        sweep(folder / checkpoints.CHECKPOINTS)
        sweep(folder / checkpoints.BEST)
        try:
            yield folder
        finally:
            if _is_vacant(folder):
                with contextlib.suppress(OSError):
                    (folder / LOCK).unlink()
                    if is_new:
                        folder.rmdir()


def _claim(folder: Path, claims: contextlib.ExitStack) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    claims.enter_context(only_writer(folder))
    return folder


def _claim_new(config: Config, claims: contextlib.ExitStack) -> Path:
    for folder in checkpoints.new_run_folders(_name_of(config)):
        if folder.exists() and not _is_vacant(folder):
            continue
        with contextlib.suppress(CheckpointError):  # another training has just taken this name
            return _claim(folder, claims)
    raise AssertionError("there is no end of names")


def check_place(run: Path, overwrite: bool = False) -> None:
    """Refuse a folder that a new run must not take.

    Raises:
        CheckpointError: it is in use, or holds a run (unless that may go) or something else.
    """
    if not run.exists() and not run.is_symlink():
        return
    if not run.is_dir():
        raise CheckpointError(f"{run}: exists and is not a folder", "Give another --out.")
    refuse_if_in_use(run)
    if _is_vacant(run):
        return
    foreign = [path.name for path in run.iterdir() if path.name not in checkpoints.OF_A_RUN and not is_leftover(path)]
    if foreign or not _is_run(run):
        found = foreign[0] if foreign else checkpoints.CONFIG
        raise CheckpointError(
            f"{run}: holds {found}, which is not of a run, so nothing is written here", "Give another --out."
        )
    if not overwrite:
        way_on = "" if (run / checkpoints.METRICS).is_file() else ", --resume to go on with it"
        raise CheckpointError(f"{run}: exists already", f"Give another --out{way_on}, or --overwrite to replace it.")


def _is_vacant(run: Path) -> bool:
    """True for a folder in which no run has begun: it may hold what a training killed before that left."""
    return run.is_dir() and all(path.name == LOCK or is_leftover(path) for path in run.iterdir())


def _is_run(run: Path) -> bool:
    try:
        load_recorded(run / checkpoints.CONFIG)
    except ConfigError:
        return False
    return True


def as_recorded(run: Path, wanted: Config) -> tuple[Config, list[str]]:
    """A configuration in the words of a run's own, and where the two differ in more than memory.

    Other words for the same are: `auto` for the precision it chose, another path to the data, prepared data's own
    settings, and another rule for repeats that gives the same splits.
    """
    recorded = load_recorded(run / checkpoints.CONFIG)
    train = wanted.train
    # Whether the data is the same, its fingerprint tells.
    kept = {key: getattr(recorded.data, key) for key in ("repeats", "allow_rejects")}
    data = wanted.data.model_copy(update=kept)
    if train.precision == "auto":
        train = train.model_copy(update={"precision": recorded.train.precision})
    if user_path(data.source).resolve() == user_path(recorded.data.source).resolve():
        data = data.model_copy(update={"source": recorded.data.source})
    same = wanted.model_copy(update={"train": train, "data": data})
    if is_prepared(user_path(data.source)):
        same = adopt_settings(same)
    return same, differences(recorded, same, aside_from=MEMORY_ONLY)


def _check_shares(config: Config) -> None:
    """Refuse a batch that the processes cannot share evenly."""
    batch, several = config.train.batch_size, processes.count()
    if batch % several:
        raise ConfigError(
            f"train.batch_size {batch} cannot be divided by {several} processes",
            f"Use a multiple of {several}, such as --batch-size {-(-batch // several) * several}.",
        )
    micro = config.train.micro_batch_size
    share = batch // several
    if micro == "auto" and several > 1:
        raise ConfigError(
            "train.micro_batch_size auto is for one process: several cannot repeat a step each on its own",
            "Give a number.",
        )
    if isinstance(micro, int) and share % min(micro, share):
        raise ConfigError(
            f"train.micro_batch_size {micro} must divide the {share} examples of each of {several} processes"
        )


def _name_of(config: Config) -> list[str]:
    data = Path(config.data.source).name.split(".")[0]
    return [data, Path(config.model.name).name, f"alpha{config.rdrop.alpha:g}", f"seed{config.train.seed}"]
