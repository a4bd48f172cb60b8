"""Which run a training command means: a new folder, or one to go on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rdrop_cli import processes
from rdrop_cli.config import differences, load_config
from rdrop_cli.core import checkpoints
from rdrop_cli.errors import CheckpointError, ConfigError
from rdrop_cli.schema import Config


def open_run(
    config: str | None, overrides: list[tuple[str, Any]], *, out: Path | None, resume: bool
) -> tuple[Config, Path]:
    """The configuration and the folder of a run, checked without loading anything heavy.

    Args:
        config: A recipe's name or a file; for a resumed run only if it says the same as the run's own.
        overrides: Dotted keys with their values.
        out: The run folder; None: a new one named after the run, or the newest unfinished one to resume.
        resume: Go on with a run instead of beginning one.

    Raises:
        CheckpointError: a new run's folder exists, or there is nothing to resume.
        ConfigError: the configuration does not hold, or differs from the one to resume.
    """
    if not resume:
        resolved = load_config(config, overrides)
        _check_shares(resolved)
        run = out or checkpoints.new_run_folder(_name_of(resolved))
        if run.exists() and (not run.is_dir() or any(run.iterdir())):
            raise CheckpointError(f"{run}: exists already", "Give another --out, or --resume to go on with it.")
        return resolved, run
    run = out or checkpoints.newest_unfinished()
    saved = run / checkpoints.CONFIG
    if not saved.is_file():
        raise CheckpointError(f"{run}: no run to resume here ({checkpoints.CONFIG} is missing)")
    if (run / checkpoints.METRICS).is_file():
        raise CheckpointError(f"{run}: this run has finished", f"Look at it with: rdrop evaluate {run}")
    recorded = load_config(str(saved))
    _check_shares(recorded)
    wanted = load_config(config or str(saved), overrides)
    if changed := differences(recorded, wanted):
        raise ConfigError(
            f"{run}: a resumed run keeps its configuration, but {'; '.join(changed)}", "Train a new run instead."
        )
    return recorded, run


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
