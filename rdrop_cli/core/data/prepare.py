"""From the data that a user names to a prepared folder: read, check, split, audit, tokenize."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.core.data import audit, left_out
from rdrop_cli.core.data.dataset import (
    NOT_OF_THE_DATA,
    SETTINGS_BEFORE,
    SPLITS,
    Prepared,
    Split,
    is_prepared,
    load_prepared,
)
from rdrop_cli.core.data.label_column import LabelReading, read_training_labels
from rdrop_cli.core.data.labels import is_whole_number
from rdrop_cli.core.data.reading import Example, Reading, read_source
from rdrop_cli.core.data.sources import WHOLE, Source, open_source
from rdrop_cli.core.data.splits import stratified_sample, stratified_split
from rdrop_cli.core.data.tokens import tokenizer_fingerprint
from rdrop_cli.core.progress import Progress, counting, no_progress
from rdrop_cli.core.storage import starter
from rdrop_cli.core.storage.files import user_path
from rdrop_cli.errors import DataError

if TYPE_CHECKING:
    from rdrop_cli.core.data.labels import LabelMap
    from rdrop_cli.schema import Config, DataConfig

_DIFFERENT = object()
"""Equal to nothing else."""


def prepare_data(
    config: Config,
    *,
    out: Path | None = None,
    strict: bool = False,
    overwrite: bool = False,
    columns: Mapping[str, str | None] | None = None,
    on_progress: Progress = no_progress,
) -> Prepared:
    """Read, check, split and save the configured data, or load it if it was prepared before with the same settings.

    Args:
        out: The folder to write; None: a folder below `prepared/`, named after the source and its settings.
        strict: Refuse data with unusable rows instead of leaving them out.
        overwrite: Replace other prepared data in `out`.
        columns: The columns that a run recorded for its training data.

    Raises:
        DataError: the data cannot be read, has fewer than two classes or (strict) unusable rows, or `out` holds
            something else.
        StorageError: the folder cannot be written.
    """
    folder = user_path(config.data.source)
    if is_prepared(folder):
        if out is not None and out.resolve() != folder.resolve():
            raise DataError(f"{folder}: is already prepared", f"Name the original data to prepare them in {out}.")
        prepared = load_prepared(folder)
        if strict:
            _refuse_rejected([(row["file"], row["line"], row["reason"]) for row in prepared.rejected])
        return prepared
    source = open_source(config.data.source, config.hub)
    key = _key(source, config.data)
    target = out or Path("prepared") / f"{source.slug}-{key[:8]}"
    existing = _existing(target, key, replaceable=overwrite or out is None)
    if existing is not None and not (strict and existing.rejected):
        return existing
    data = read_and_split(source, config.data, strict=strict, columns=columns, on_progress=on_progress)
    data.source["key"] = key
    # Look again: another process may have prepared the same data meanwhile and be writing its tokens there.
    return _existing(target, key, replaceable=overwrite or out is None) or data.save(target)


def _existing(folder: Path, key: str, *, replaceable: bool) -> Prepared | None:
    """The data already prepared in a folder, if its source and settings match; None: the folder is to be written.

    Args:
        replaceable: Other or damaged data in the folder may be replaced.
    """
    if not is_prepared(folder):
        return None
    try:
        existing = load_prepared(folder)
    except DataError:
        if replaceable:
            return None
        raise
    if existing.source.get("key") == key:
        return existing
    if replaceable:
        return None
    raise DataError(
        f"{folder}: contains other prepared data, made from {existing.source.get('name')}",
        "Give another --out, or --overwrite to replace it.",
    )


def is_local(source: str) -> bool:
    """True for data on this machine: a built-in name or an existing path."""
    return source in starter.DATASETS or user_path(source).exists()


def read_and_split(
    source: Source,
    config: DataConfig,
    *,
    strict: bool = False,
    columns: Mapping[str, str | None] | None = None,
    on_progress: Progress,
) -> Prepared:
    """Read and split a source without saving anything. Arguments and errors are those of `prepare_data`."""
    reading = read_source(source, config, columns=columns, on_progress=on_progress)
    if strict:
        _refuse_rejected([(row.file, row.line, row.reason) for row in reading.rejected])
    first, *others = reading.examples
    labels = read_training_labels(
        [example.label for example in reading.examples[first]],
        {example.label for split in others for example in reading.examples[split]},
        names=config.label_names,
        names_of_ids=source.label_names.get(reading.columns.label or "", ()),
        label_map=config.label_map,
        positive=config.positive_label,
    )
    for split, examples in reading.examples.items():
        _refuse_unknown_labels(labels, split, examples)
    return _split_and_audit(reading, labels, source, config)


def _refuse_rejected(rows: Sequence[tuple[str, int, str]]) -> None:
    """Refuse data with unusable rows: file, line and reason of each."""
    if rows:
        shown = "; ".join(f"{file}, line {line}: {reason}" for file, line, reason in rows[:5])
        more = f"; and {len(rows) - 5:,} more" if len(rows) > 5 else ""
        raise DataError(f"{len(rows):,} unusable rows (--strict): {shown}{more}")


def _refuse_unknown_labels(reading: LabelReading, split: str, examples: list[Example]) -> None:
    """Refuse unknown labels in every split alike, so that no split is shortened and no class lost silently."""
    unknown = [example for example in examples if example.label not in reading.classes]
    if unknown:
        first = unknown[0]
        of = "" if split in (WHOLE, "train") else f" in {split}; train has no example of this class"
        raise DataError(
            f"{first.file}, line {first.line}: {reading.labels.explain_unknown(first.label)}"
            f" ({len(unknown):,} such rows{of})",
            f"Map it to a class with --label-map '{first.label}=CLASS', or remove these rows.",
        )


def _refuse_empty_classes(labels: LabelMap, train: list[int], config: DataConfig) -> None:
    present = set(train)
    missing = [name for index, name in enumerate(labels.names) if index not in present]
    if missing:
        hint = "Add rows of that class, or list only the classes that have rows: --set data.label_names=[...]."
        if config.train_examples is not None:
            hint = "Raise --train-examples."
        raise DataError(f"{config.source}: class {missing[0]!r} has no training row", hint)


def tokenize_splits(data: Prepared, config: Config, tokenizer: Any, *, on_progress: Progress = no_progress) -> Prepared:
    """Tokenize every split, once for each tokenizer and length, and add token statistics to the report."""
    statistics = {}
    for name, split in data.splits.items():
        advance = counting(on_progress, f"Tokenizing {name}", len(split))
        tokens = data.tokens(name, tokenizer, max_length=config.model.max_length, on_progress=advance)
        statistics[name] = audit.token_statistics(tokens, tokenizer.unk_token_id)
    report = {
        **data.report,
        "tokens": {
            "model": config.model.name,
            "tokenizer": tokenizer_fingerprint(tokenizer),
            "max_length": config.model.max_length,
            "splits": statistics,
        },
    }
    return data.record_report(report) if report != data.report else data


def _split_and_audit(reading: Reading, labels: LabelReading, source: Source, config: DataConfig) -> Prepared:
    rows = [example for examples in reading.examples.values() for example in examples]
    keys = [audit.repeat_key(example.text, example.pair, config.repeats) for example in rows]
    class_ids = [labels.ids[example.label] for example in rows]
    assigned, crossing = _assign(reading, keys, class_ids, config)
    available = len(assigned["train"])
    if config.train_examples is not None:
        sample = stratified_sample(
            [class_ids[index] for index in assigned["train"]], config.train_examples, seed=config.seed
        )
        assigned["train"] = [assigned["train"][position] for position in sample]
    _refuse_empty_classes(labels.labels, [class_ids[index] for index in assigned["train"]], config)

    def split_of(chosen: list[int]) -> Split:
        pairs = [rows[index].pair or "" for index in chosen] if reading.columns.text_pair else None
        ids = np.asarray([class_ids[index] for index in chosen], dtype=np.int64)
        return Split([rows[index].text for index in chosen], pairs, ids)

    splits = {name: split_of(assigned[name]) for name in SPLITS if name in assigned}
    report = {
        "classes": {name: audit.class_balance(split.labels.tolist(), labels.labels) for name, split in splits.items()},
        "repeats": audit.repeats(keys),
        "conflicts": audit.conflicts(keys, class_ids),
        "crossing": crossing,
        "not_used": available - len(assigned["train"]),
        **_omissions(reading),
        "passed_over": list(source.passed_over),
        "label_ids": labels.label_ids,
        "label_note": labels.note,
    }
    settings = {"name": _portable(config.source), "settings": config.model_dump(exclude=NOT_OF_THE_DATA)}
    rejected = [row.as_dict() for row in reading.rejected]
    return Prepared(labels.labels, splits, reading.columns.as_dict(), report, settings, rejected)


def _assign(
    reading: Reading, keys: Sequence[audit.Key], class_ids: Sequence[int], config: DataConfig
) -> tuple[dict[str, list[int]], int]:
    """Assign rows to splits: given ones as they are, but for texts that are in two, and missing ones cut from train.

    Args:
        keys: One for each row, equal for rows that repeat each other.
        class_ids: One for each row.

    Returns:
        assigned: The numbers of each split's rows.
        crossing: How many rows were left out because another split has their text.
    """
    given: dict[str, list[int]] = {}
    start = 0
    for split, examples in reading.examples.items():
        given["train" if split == WHOLE else split] = list(range(start, start + len(examples)))
        start += len(examples)
    assigned, crossing = audit.drop_crossing(given, keys)
    if "train" not in assigned:
        raise DataError(f"{config.source}: every training text also occurs in another split")
    pool = assigned.pop("train")
    cut = stratified_split(
        [keys[index] for index in pool],
        [class_ids[index] for index in pool],
        validation=0.0 if "validation" in assigned else config.validation,
        test=0.0 if "test" in assigned else config.test,
        seed=config.seed,
    )
    return assigned | {split: [pool[position] for position in positions] for split, positions in cut.items()}, crossing


def _omissions(reading: Reading) -> dict[str, Any]:
    """The part of the report about rows that could not be used."""
    rejected = reading.rejected
    return {
        "rejected": len(rejected),
        "reasons": left_out.by_reason(row.reason for row in rejected),
        "rows": reading.rows,
        "left_out": {
            split: left_out.by_reason(row.reason for row in rejected if row.split == split)
            for split in dict.fromkeys(row.split for row in rejected)
        },
        "unlabelled": reading.unlabelled,
    }


def _portable(source: str) -> str:
    path = user_path(source)
    return str(path.resolve()) if path.exists() else source


def _key(source: Source, config: DataConfig) -> str:
    """A hash of the source and the settings. A newer key counts only if its value differs from the earlier behaviour.

    So data prepared by an earlier version keeps its key.
    """
    content = config.model_dump(exclude=NOT_OF_THE_DATA)
    content = {key: value for key, value in content.items() if SETTINGS_BEFORE.get(key, _DIFFERENT) != value}
    if any(is_whole_number(name) for names in source.label_names.values() for name in names):
        content["ids"] = "named"  # earlier versions could take such ids for names
    settings = json.dumps(content, sort_keys=True)
    return hashlib.sha256(f"{source.fingerprint}\n{settings}".encode()).hexdigest()
