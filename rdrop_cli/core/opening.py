"""A training's run folder: made, or found to be the one to go on in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from rdrop_cli.config import dump_config
from rdrop_cli.core import checkpoints, manifest, models, recovery, tokenization
from rdrop_cli.core.callbacks import write_history
from rdrop_cli.core.export import data_record
from rdrop_cli.core.files import write_text
from rdrop_cli.core.prepared import Prepared
from rdrop_cli.core.recovery import Start
from rdrop_cli.errors import CheckpointError, StorageError
from rdrop_cli.schema import Config

_OF_THE_PLACE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
"""Keys of a model's configuration that do not say what it computes."""


def begin(run: Path, config: Config, data: Prepared, record: Mapping[str, Any], *, overwrite: bool = False) -> Start:
    """Make the run folder.

    Args:
        record: What data.json says beside the data: `model`, as `model_record` gives it, the kind of `device`, the
            number of `threads`, and as `fallbacks` the keys of the configuration that do not have the value asked for,
            with that value.
        overwrite: Remove a run that stands there.

    Raises:
        CheckpointError: a run stands there.
        StorageError: it cannot be written to.
    """
    if overwrite:
        checkpoints.clear(run)
    if (run / checkpoints.CONFIG).exists():
        raise CheckpointError(f"{run}: another training has begun here", "Give another --out.")
    _record(run, config, data, record)
    return Start()


def go_on(run: Path, config: Config, data: Prepared, record: Mapping[str, Any], notice: Callable[[str], None]) -> Start:
    """Bring the run folder to where its newest whole checkpoint was saved.

    Args:
        record: As in `begin`.
        notice: Is told what will not be as in an uninterrupted run.

    Raises:
        DataError: the run began with other data.
        ModelError: it began with another model.
        StorageError: it cannot be written to.
    """
    recovery.check_same_run(run, data, record["model"])
    start = recovery.find_start(run)
    before = checkpoints.read_record(run) if (run / checkpoints.DATA).is_file() else {}
    if before.get("device", record["device"]) != record["device"]:
        notice(
            f"This run began on {before['device']} and continues on {record['device']}: from here on its numbers will"
            " differ from an uninterrupted run"
        )
    fallbacks = {**(before.get("fallbacks") or {}), **record["fallbacks"]}
    if start.checkpoint is not None:
        recovery.check_same_processes(start.checkpoint, notice)
        recovery.restore_best(run, start.checkpoint, config, data)
        try:
            write_history(run / checkpoints.HISTORY, recovery.log_history(start.checkpoint))
        except StorageError as error:
            notice(f"{error.message}; training continues, and its first entry tries again")
    _record(run, config, data, {**record, "fallbacks": fallbacks})
    return start


def model_record(folder: Path, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> dict[str, Any]:
    """What must be the same when the run goes on, though it is read from the model's folder again."""
    content = {key: value for key, value in config.to_dict().items() if key not in _OF_THE_PLACE}
    text = json.dumps(content, sort_keys=True, default=str)  # as it comes back from the file
    return {
        "tokenizer": tokenization.fingerprint(tokenizer),
        "weights": models.weights_fingerprint(folder),
        "config": json.loads(text),
    }


def _record(run: Path, config: Config, data: Prepared, record: Mapping[str, Any]) -> None:
    write_text(run / checkpoints.CONFIG, dump_config(config))  # first: it makes the folder a run
    write_text(run / checkpoints.DATA, manifest.signed({**data_record(data), **record}))
