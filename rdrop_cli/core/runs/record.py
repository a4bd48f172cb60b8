"""A run's record of its data and model (data.json), and the check that neither has changed when it resumes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.data import left_out
from rdrop_cli.core.runs import layout
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.files import write_text
from rdrop_cli.errors import CheckpointError, DataError, ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.schema import Config

_NOT_OF_THE_MODEL = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
"""Keys of a model's configuration that do not affect what it computes."""


def read_record(run: Path) -> dict[str, Any]:
    """Read a run's record of its data and model.

    Raises:
        CheckpointError: it is missing, damaged or has been edited.
    """
    record = layout.read_json(run / layout.DATA)
    if not integrity.checksum_holds(record):
        raise CheckpointError(
            f"{run / layout.DATA}: has been changed since rdrop wrote it", "Name the data yourself, or train a new run."
        )
    return record


def data_record(data: Prepared) -> dict[str, Any]:
    """The data's part of data.json: enough to find the same splits again and to recognise them."""
    return {
        "source": data.source,
        "prepared": str(data.folder.resolve()) if data.folder else None,
        "fingerprint": data.fingerprint,
        "columns": data.columns,
        "splits": {name: len(split) for name, split in data.splits.items()},
        "labels": list(data.labels.names),
        "label_ids": data.report.get("label_ids", {}),
        "classes": data.report.get("classes", {}),
        "left_out": left_out.record(data.report),
    }


def model_record(folder: Path, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> dict[str, Any]:
    """The model's part of data.json. A resumed run reads tokenizer and configuration anew, so they are compared."""
    from rdrop_cli.core.data.tokens import tokenizer_fingerprint

    content = {key: value for key, value in config.to_dict().items() if key not in _NOT_OF_THE_MODEL}
    text = json.dumps(content, sort_keys=True, default=str)  # the same types as after reading it from the file
    return {
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "weights": integrity.weights_fingerprint(folder),
        "config": json.loads(text),
    }


def write_record(run: Path, config: Config, data: Prepared, record: Mapping[str, Any]) -> None:
    """Write config.yaml and data.json.

    Raises:
        StorageError: they cannot be written.
    """
    from rdrop_cli.config import dump_config  # reading a record does not need it

    write_text(run / layout.CONFIG, dump_config(config))  # first: it makes the folder a run
    write_text(run / layout.DATA, integrity.with_checksum({**data_record(data), **record}))


_PAD_AS_BEFORE = {"pad_token_id": None}
"""Not compared with a record that has none: earlier versions recorded the model's value, not the tokenizer's."""


def check_same_run(run: Path, data: Prepared, model: Mapping[str, Any]) -> None:
    """Make sure that a run resumes with the examples, tokenizer, weights and model configuration that it began with.

    Args:
        model: As `model_record` gives it.

    Raises:
        DataError: the data has changed; the message has the difference.
        ModelError: the model has changed.
    """
    if not (run / layout.DATA).is_file():
        return  # the run was stopped before it was written, and so before its first step
    recorded = read_record(run)
    if recorded.get("fingerprint") != data.fingerprint:
        raise DataError(
            f"{run}: the data has changed since this run began: {_difference(recorded, data)}",
            "Restore the old data, or train a new run.",
        )
    before = recorded.get("model")
    if not isinstance(before, dict):
        return  # runs of earlier versions recorded less
    if (before.get("config") or {}).get("pad_token_id") is None:
        model = {**model, "config": {**(model.get("config") or {}), **_PAD_AS_BEFORE}}
        before = {**before, "config": {**before["config"], **_PAD_AS_BEFORE}} if "config" in before else before
    # Only the recorded keys are compared, so that a run of an earlier version can resume.
    if before == {key: model.get(key) for key in before}:
        return
    old, new = (content.get("config") or {} for content in (before, model))
    other = "other weights" if before.get("tokenizer") == model.get("tokenizer") else "another tokenizer"
    changed = [f"{key}: {old.get(key)} -> {new.get(key)}" for key in {**old, **new} if old.get(key) != new.get(key)]
    raise ModelError(
        f"{run}: the model has changed since this run began: {'; '.join(changed) or other}",
        "Restore the old model, or train a new run.",
    )


def _difference(recorded: Mapping[str, Any], data: Prepared) -> str:
    """How the data differs from a run's record of it, in as much detail as the record allows."""
    from rdrop_cli.core.data.dataset import load_recorded_data  # is slow to load

    now = data_record(data)
    changes = []
    for key in ("labels", "splits", "columns"):
        before, after = recorded.get(key), now[key]
        if before != after:
            changes.append(f"{key} {before} -> {after}")
    old = load_recorded_data(recorded)
    if old is not None:
        before, after = _rows(old), _rows(data)
        new, gone = (after - before).total(), (before - after).total()
        changes.append(f"{new:,} examples added, {gone:,} removed" if new or gone else "the examples' order")
        example = next(iter(after - before or before - after), None)
        if example is not None:
            changes.append(f"such as {example[1][:60]!r} ({example[-1]}, in {example[0]})")
    return "; ".join(changes) or "other texts or labels"


def _rows(data: Prepared) -> Counter[tuple[str, str, str, str]]:
    """Every example: split, text, second text, label."""
    return Counter(
        (name, text, split.pairs[index] if split.pairs else "", data.labels.names[split.labels[index]])
        for name, split in data.splits.items()
        for index, text in enumerate(split.texts)
    )
