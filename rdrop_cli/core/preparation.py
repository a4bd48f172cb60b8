"""From what a user names as data to a prepared folder: read, check, split, audit, tokenize."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rdrop_cli.core import audit, models, prepared, starter, tokenization
from rdrop_cli.core.columns import Columns, resolve_columns, screen
from rdrop_cli.core.files import user_path
from rdrop_cli.core.labels import LabelMap, canonical
from rdrop_cli.core.prepared import Prepared, Split
from rdrop_cli.core.readers import Row
from rdrop_cli.core.sources import WHOLE, Source, open_source
from rdrop_cli.core.splits import stratified_sample, stratified_split
from rdrop_cli.errors import ConfigError, DataError
from rdrop_cli.schema import Config, DataConfig

Progress = Callable[[str, int, int | None], None]
"""Called with a stage's name, how many rows are done, and how many there are (None: not known)."""


@dataclass(frozen=True, slots=True)
class _Example:
    text: str
    pair: str | None
    label: str
    row: Row


def prepare(
    config: Config,
    *,
    out: Path | None = None,
    strict: bool = False,
    overwrite: bool = False,
    on_progress: Progress | None = None,
) -> Prepared:
    """Read, check, split and save the configured data, or load it where the same was prepared before.

    Args:
        out: The folder to write; None: `prepared/` with a name made of the source and its settings.
        strict: Refuse data with unusable rows instead of leaving them out.
        overwrite: Other prepared data in `out` may be replaced.

    Raises:
        DataError: unreadable, without two classes, (strict) with unusable rows, or `out` holds something else.
        StorageError: it cannot be written.
    """
    progress = on_progress or (lambda stage, done, total: None)
    folder = user_path(config.data.source)
    if prepared.is_prepared(folder):
        return prepared.load(folder)
    source = open_source(config.data.source, config.hub)
    key = _key(source, config.data)
    target = out or Path("prepared") / f"{source.slug}-{key[:8]}"
    existing = _existing(target, key, replaceable=overwrite or out is None)
    if existing is not None and not (strict and existing.rejected):
        return existing
    data = build(source, config.data, strict=strict, on_progress=progress)
    data.source["key"] = key
    # Another training may have prepared the same meanwhile, and be writing its tokens into the folder.
    return _existing(target, key, replaceable=overwrite or out is None) or data.save(target)


def _existing(folder: Path, key: str, *, replaceable: bool) -> Prepared | None:
    """What was prepared in a folder before, if that is what is wanted now; None: write it.

    Args:
        replaceable: Damaged or other data there is no hindrance.
    """
    if not prepared.is_prepared(folder):
        return None
    try:
        existing = prepared.load(folder)
    except DataError:
        if replaceable:
            return None
        raise
    if existing.source.get("key") == key:
        return existing
    if replaceable:
        return None
    raise DataError(
        f"{folder}: holds other prepared data, of {existing.source.get('name')}",
        "Give another --out, or --overwrite to replace it.",
    )


def check(config: Config) -> Config:
    """Everything about data and model that can be known at once: that they are there, and the columns.

    Returns:
        The configuration; for a prepared folder with the settings it was prepared with.

    Raises:
        ConfigError: settings that contradict those of a prepared folder.
        DataError, ModelError, HubError: what is missing.
    """
    models.locate(config.model, config.hub)
    if prepared.is_prepared(user_path(config.data.source)):
        return adopt_settings(config)
    source = open_source(config.data.source, config.hub)
    for row in next(iter(source.splits.values()))():
        if row.values:
            _resolve(row, config.data)
            break
    return config


def is_local(source: str) -> bool:
    """True for data that can be read from here: a built-in name or a path."""
    return source in starter.DATASETS or user_path(source).exists()


def adopt_settings(config: Config) -> Config:
    """Prepared data keeps the settings it was prepared with; others given for it would have no effect.

    Raises:
        ConfigError: others are given.
    """
    folder = user_path(config.data.source)
    stored = prepared.read_settings(folder)
    plain = DataConfig().model_dump()
    given = config.data.model_dump(exclude={"source"})
    ignored = [key for key, value in given.items() if value not in (plain[key], stored.get(key))]
    if ignored:
        raise ConfigError(
            f"{folder} is prepared already, so data.{ignored[0]} has no effect",
            "Name the source instead, or prepare it again with --out.",
        )
    return config.model_copy(update={"data": DataConfig(**{**stored, "source": config.data.source})})


def build(source: Source, config: DataConfig, *, strict: bool = False, on_progress: Progress) -> Prepared:
    """Read and split a source without saving anything. Arguments and errors as `prepare`."""
    columns: Columns | None = None
    rejected: list[dict[str, Any]] = []
    examples: dict[str, list[_Example]] = {}
    for split, rows in source.splits.items():
        found: list[_Example] = []
        stage = f"Reading {split}" if split != WHOLE else "Reading"
        screened = screen(_counted(rows(), stage, on_progress), lambda row: _resolve(row, config))
        for row, columns, problem in screened:
            if problem is not None or columns is None or columns.label is None:
                rejected.append({"file": row.file, "line": row.line, "reason": problem})
                continue
            pair = row.values[columns.text_pair] if columns.text_pair else None
            label = canonical(row.values[columns.label]) or ""
            found.append(_Example(row.values[columns.text], pair, label, Row({}, row.file, row.line)))
        examples[split] = found
    training = examples.get("train", examples.get(WHOLE, []))
    if columns is None or not training:
        first = f"; {rejected[0]['file']}, line {rejected[0]['line']}: {rejected[0]['reason']}" if rejected else ""
        raise DataError(f"{config.source}: no usable rows{first}")

    names = config.label_names or source.label_names.get(columns.label or "")
    labels = LabelMap(tuple(names)) if names else LabelMap.from_values([example.label for example in training])
    usable: dict[str, list[tuple[_Example, int]]] = {}
    for split, found in examples.items():
        usable[split] = []
        for example in found:
            label_id = labels.id_of(example.label)
            if label_id is None:
                reason = labels.explain_unknown(example.label)
                rejected.append({"file": example.row.file, "line": example.row.line, "reason": reason})
            else:
                usable[split].append((example, label_id))
    if rejected and strict:
        shown = "; ".join(f"{row['file']}, line {row['line']}: {row['reason']}" for row in rejected[:5])
        more = f"; and {len(rejected) - 5:,} more" if len(rejected) > 5 else ""
        raise DataError(f"{len(rejected):,} unusable rows (--strict): {shown}{more}")
    return _split_and_audit(usable, labels, columns, rejected, config)


def tokenize(data: Prepared, config: Config, tokenizer: Any, *, on_progress: Progress | None = None) -> Prepared:
    """Tokenize every split (once for each tokenizer and length) and add the token statistics to the report."""
    statistics = {}
    for name, split in data.splits.items():
        done = 0

        def advance(count: int, name: str = name, total: int = len(split)) -> None:
            nonlocal done
            done += count
            if on_progress is not None:
                on_progress(f"Tokenizing {name}", done, total)

        tokens = data.tokens(name, tokenizer, max_length=config.model.max_length, on_progress=advance)
        statistics[name] = audit.token_statistics(tokens)
    report = {
        **data.report,
        "tokens": {
            "model": config.model.name,
            "tokenizer": tokenization.fingerprint(tokenizer),
            "max_length": config.model.max_length,
            "splits": statistics,
        },
    }
    return data.record_report(report) if report != data.report else data


def _split_and_audit(
    usable: dict[str, list[tuple[_Example, int]]],
    labels: LabelMap,
    columns: Columns,
    rejected: list[dict[str, Any]],
    config: DataConfig,
) -> Prepared:
    rows = [row for split in usable.values() for row in split]
    keys = [(example.text, example.pair) for example, _ in rows]
    label_ids = [label for _, label in rows]
    indices: dict[str, list[int]] = {}
    start = 0
    for split, split_rows in usable.items():
        indices[split] = list(range(start, start + len(split_rows)))
        start += len(split_rows)
    given, removed = audit.drop_crossing(
        {"train" if name == WHOLE else name: ids for name, ids in indices.items()}, keys
    )
    if "train" not in given:
        raise DataError(f"{config.source}: every training text stands in another split too")
    pool = given.pop("train")
    cut = stratified_split(
        [keys[index] for index in pool],
        [label_ids[index] for index in pool],
        validation=0.0 if "validation" in given else config.validation,
        test=0.0 if "test" in given else config.test,
        seed=config.seed,
    )
    given |= {split: [pool[position] for position in positions] for split, positions in cut.items()}
    if config.train_examples is not None:
        train = given["train"]
        sample = stratified_sample([label_ids[index] for index in train], config.train_examples, seed=config.seed)
        given["train"] = [train[position] for position in sample]
        not_used = len(train) - len(sample)
    else:
        not_used = 0
    kept = {name: given[name] for name in prepared.SPLITS if name in given}

    def split_of(chosen: list[int]) -> Split:
        pairs = [rows[index][0].pair or "" for index in chosen] if columns.text_pair else None
        ids = np.asarray([label_ids[index] for index in chosen], dtype=np.int64)
        return Split([rows[index][0].text for index in chosen], pairs, ids)

    splits = {name: split_of(chosen) for name, chosen in kept.items()}
    reasons: dict[str, int] = {}
    for row in rejected:
        reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
    report = {
        "classes": {name: audit.class_balance(split.labels.tolist(), labels) for name, split in splits.items()},
        "repeats": audit.repeats(keys),
        "conflicts": audit.conflicts(keys, label_ids),
        "crossing": removed,
        "not_used": not_used,
        "rejected": len(rejected),
        "reasons": reasons,
    }
    used = {"text": columns.text, "label": columns.label, "text_pair": columns.text_pair}
    source = {"name": _portable(config.source), "settings": config.model_dump(exclude={"source"})}
    return Prepared(labels, splits, used, report, source, rejected)


def _resolve(row: Row, config: DataConfig) -> Columns:
    return resolve_columns(
        row.values,
        row.file,
        text=config.text_column,
        label=config.label_column,
        text_pair=config.text_pair_column,
    )


def _portable(source: str) -> str:
    path = user_path(source)
    return str(path.resolve()) if path.exists() else source


def _key(source: Source, config: DataConfig) -> str:
    settings = json.dumps(config.model_dump(exclude={"source"}), sort_keys=True)
    return hashlib.sha256(f"{source.fingerprint}\n{settings}".encode()).hexdigest()


def _counted(rows: Iterator[Row], stage: str, on_progress: Progress) -> Iterator[Row]:
    count = 0
    for row in rows:
        yield row
        count += 1
        if count % 1000 == 0:
            on_progress(stage, count, None)
    on_progress(stage, count, count)
