"""What a run records of its data and model (data.json), and whether it is still so when the run is resumed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.config import dump_config
from rdrop_cli.core.data import left_out
from rdrop_cli.core.runs import layout
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.files import write_text
from rdrop_cli.errors import CheckpointError, DataError, ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.schema import Config


def read_record(run: Path) -> dict[str, Any]:
    """What a run recorded of its data and model.

    Raises:
        CheckpointError: missing, damaged or changed by hand.
    """
    record = layout.read_json(run / layout.DATA)
    if not integrity.checksum_holds(record):
        raise CheckpointError(
            f"{run / layout.DATA}: is not as it was written", "Give DATA by name, or train a new run."
        )
    return record


def data_record(data: Prepared) -> dict[str, Any]:
    """What data.json says: enough to find the same splits again, and to know that they are the same."""
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


_OF_THE_PLACE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
"""Keys of a model's configuration that do not say what it computes."""


def model_record(folder: Path, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> dict[str, Any]:
    """What must be the same when the run is resumed, though it is read from the model's folder again."""
    from rdrop_cli.core.data.tokens import tokenizer_fingerprint

    content = {key: value for key, value in config.to_dict().items() if key not in _OF_THE_PLACE}
    text = json.dumps(content, sort_keys=True, default=str)  # as it comes back from the file
    return {
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "weights": integrity.weights_fingerprint(folder),
        "config": json.loads(text),
    }


def write_record(run: Path, config: Config, data: Prepared, record: Mapping[str, Any]) -> None:
    write_text(run / layout.CONFIG, dump_config(config))  # first: it makes the folder a run
    write_text(run / layout.DATA, integrity.with_checksum({**data_record(data), **record}))


_PAD_AS_BEFORE = {"pad_token_id": None}
"""Earlier versions recorded what the model's configuration said, before training took the tokenizer's."""


def check_same_run(run: Path, data: Prepared, model: Mapping[str, Any]) -> None:
    """Make sure that a run is resumed with the examples, the tokenizer and the kind of model it began with.

    Args:
        model: As `model_record` gives it.

    Raises:
        DataError: the data has changed; with the difference.
        ModelError: the model has.
    """
    if not (run / layout.DATA).is_file():
        return  # stopped before it was written, and so before the first step
    recorded = read_record(run)
    if recorded.get("fingerprint") != data.fingerprint:
        raise DataError(
            f"{run}: its data has changed since: {_difference(recorded, data)}",
            "Bring the old data back, or train a new run.",
        )
    before = recorded.get("model")
    if not isinstance(before, dict):
        return  # runs of earlier versions recorded less
    if (before.get("config") or {}).get("pad_token_id") is None:
        model = {**model, "config": {**(model.get("config") or {}), **_PAD_AS_BEFORE}}
        before = {**before, "config": {**before["config"], **_PAD_AS_BEFORE}} if "config" in before else before
    if before == {key: model.get(key) for key in before}:
        return
    old, new = (content.get("config") or {} for content in (before, model))
    other = "other weights" if before.get("tokenizer") == model.get("tokenizer") else "another tokenizer"
    changed = [f"{key}: {old.get(key)} -> {new.get(key)}" for key in {**old, **new} if old.get(key) != new.get(key)]
    raise ModelError(
        f"{run}: its model has changed since: {'; '.join(changed) or other}",
        "Bring the old one back, or train a new run.",
    )


def _difference(recorded: Mapping[str, Any], data: Prepared) -> str:
    """How the data differs from what a run recorded of it, as closely as can still be told."""
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
        changes.append(f"{new:,} examples are new, {gone:,} are gone" if new or gone else "another order")
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
