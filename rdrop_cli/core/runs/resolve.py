"""Determine the configuration and the run folder of a training command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import processes
from rdrop_cli.config import differences, load_config, load_recorded
from rdrop_cli.core.data.dataset import adopt_settings, is_prepared
from rdrop_cli.core.data.reading import named_columns
from rdrop_cli.core.data.sources import WHOLE, open_source
from rdrop_cli.core.model.locate import locate_model
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.claim import check_run_folder
from rdrop_cli.core.runs.finding import is_run, newest_unfinished
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.runs.trackers import check_trackers
from rdrop_cli.core.storage import shell
from rdrop_cli.core.storage.files import user_path
from rdrop_cli.core.storage.lock import refuse_if_in_use
from rdrop_cli.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from rdrop_cli.schema import Config

_CHANGEABLE = (
    "train.micro_batch_size",
    "train.gradient_checkpointing",
    "train.eval_batch_size",
    "train.num_workers",
    "train.device",
    "train.report_to",
)
"""Keys that may change when a run resumes, for instance after it ran out of memory: the mathematics stays the same."""


def check_configuration(config: Config) -> Config:
    """Check what can be checked quickly about data and model: that they exist, and the columns.

    Returns:
        The same as `check_data`.

    Raises:
        ConfigError: settings contradict those of a prepared folder.
        DataError, ModelError, HubError: something is missing.
    """
    locate_model(config.model, config.hub)
    return check_data(config)


def check_data(config: Config) -> Config:
    """Check what can be checked quickly about data: that it exists, and the columns.

    Returns:
        The configuration; for a prepared folder, with the settings it was prepared with.

    Raises:
        ConfigError: settings contradict those of a prepared folder.
        DataError, HubError: something is missing.
    """
    if is_prepared(user_path(config.data.source)):
        asked = config.data.model_fields_set
        # A configuration that was made from another one has all keys, whoever gave them.
        return adopt_settings(config, asked if len(asked) < len(type(config.data).model_fields) else ())
    source = open_source(config.data.source, config.hub)
    for row in source.splits[WHOLE if WHOLE in source.splits else "train"]():
        if row.values:
            named_columns(row, config.data)
            break
    return config


def open_run(
    config: str | None, overrides: list[tuple[str, Any]], *, out: Path | None, resume: bool, overwrite: bool = False
) -> tuple[Config, Path | None]:
    """The configuration and the folder of a run, checked without importing anything heavy or writing anything.

    Args:
        config: A recipe's name or a file; for a resumed run it must have the same content as the run's own.
        overrides: Dotted keys with their values.
        out: The run folder; None: a new one named after the run, or the newest unfinished one to resume.
        resume: Resume a run instead of starting one.
        overwrite: A new run may replace the one in `out`.

    Returns:
        Both; the folder is None if `claim_run` is to choose a new name.

    Raises:
        CheckpointError: a new run's folder exists or is in use, or there is nothing to resume.
        ConfigError: the configuration is invalid, or differs from that of the run to resume.
    """
    _refuse_run_as_data(dict(overrides).get("data.source"), resume=resume)
    if not resume:
        resolved = load_config(config, overrides)
        _check_shares(resolved)
        check_trackers(resolved.train.report_to)
        if out is not None and processes.is_main_process():
            check_run_folder(out, overwrite)
        return resolved, out
    run = out or newest_unfinished()
    saved = run / layout.CONFIG
    if not saved.is_file():
        raise CheckpointError(
            f"{run}: no run to resume in this folder ({layout.CONFIG} is missing)", "Train without --resume."
        )
    if (run / layout.METRICS).is_file():
        raise CheckpointError(
            f"{run}: this run has already finished",
            f"See its results with: {shell.join(['rdrop', 'evaluate', str(run)])}",
        )
    if processes.is_main_process():
        refuse_if_in_use(run)
    given = load_config(config, overrides) if config else load_recorded(saved, overrides)
    wanted, changed = as_recorded(run, given)
    if config is None and given.train.calibrate != wanted.train.calibrate:  # asked for, not a default
        changed.append(f"train.calibrate: {wanted.train.calibrate} -> {given.train.calibrate}")
    _check_shares(wanted)
    check_trackers(wanted.train.report_to)
    if changed:
        raise ConfigError(
            f"{run}: a resumed run must keep its configuration, but this changed: {'; '.join(changed)}",
            "Train a new run instead.",
        )
    return wanted, run


def as_recorded(run: Path, wanted: Config) -> tuple[Config, list[str]]:
    """A configuration with a run's equivalent settings in place of its own, and the keys in which they still differ.

    Equivalent are: `auto` and the precision that it chose, a setting and the fallback that the run recorded for it,
    two paths to the same data, and the settings of prepared data in either form. The rule for repeats and
    `allow_rejects` are not compared: the fingerprint shows whether the data is the same. Neither are `_CHANGEABLE`, nor
    `train.calibrate`, which changes nothing of a training or of raw probabilities.
    """
    recorded = load_recorded(run / layout.CONFIG)
    train = wanted.train.model_copy(update={"calibrate": recorded.train.calibrate})
    kept = {key: getattr(recorded.data, key) for key in ("repeats", "allow_rejects")}
    data = wanted.data.model_copy(update=kept)
    fallbacks = _fallbacks(run)
    if train.precision in ("auto", fallbacks.get("train.precision")):
        train = train.model_copy(update={"precision": recorded.train.precision})
    if train.fast is fallbacks.get("train.fast"):
        train = train.model_copy(update={"fast": recorded.train.fast})
    if user_path(data.source).resolve() == user_path(recorded.data.source).resolve():
        data = data.model_copy(update={"source": recorded.data.source})
    same = wanted.model_copy(update={"train": train, "data": data})
    if is_prepared(user_path(data.source)):
        same = adopt_settings(same)
    return same, differences(recorded, same, aside_from=_CHANGEABLE)


def _fallbacks(run: Path) -> dict[str, Any]:
    """The requested value of each key that the run had to replace, because it did not work on the device."""
    if not (run / layout.DATA).is_file():
        return {}
    fallbacks = read_record(run).get("fallbacks")
    return fallbacks if isinstance(fallbacks, dict) else {}


def _refuse_run_as_data(source: object, *, resume: bool) -> None:
    """Refuse a run where the data belongs: its folder has files that could be taken for data."""
    if not isinstance(source, str):
        return
    folder = user_path(source)
    if resume and not folder.exists():
        folder = layout.RUNS / source
    if is_run(folder):
        resumed = f"To resume it: {layout.resume_command(folder)}."
        evaluated = f"To evaluate it: {shell.join(['rdrop', 'evaluate', str(folder)])}."
        raise ConfigError(f"{folder} is a run, not data", resumed if resume else evaluated)


def _check_shares(config: Config) -> None:
    """Refuse a batch size that the processes cannot share evenly."""
    batch, several = config.train.batch_size, processes.world_size()
    if batch % several:
        raise ConfigError(
            f"train.batch_size {batch} cannot be divided evenly among {several} processes",
            f"Use a multiple of {several}, such as --batch-size {-(-batch // several) * several}.",
        )
    micro = config.train.micro_batch_size
    share = batch // several
    if micro == "auto" and several > 1:
        raise ConfigError(
            "train.micro_batch_size auto works with one process only, since several cannot repeat a step separately",
            "Set it to a number.",
        )
    if isinstance(micro, int) and share % min(micro, share):
        raise ConfigError(
            f"train.micro_batch_size {micro} must divide the {share} examples that each of {several} processes gets"
        )
