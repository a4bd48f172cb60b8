"""Open the data that a user names (a built-in name, file, folder or hub id) as streams of rows."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rdrop_cli.core.data.readers import Row, format_of, read_rows
from rdrop_cli.core.data.sniffing import encoding_problem
from rdrop_cli.core.storage import hub, starter
from rdrop_cli.core.storage.files import user_path
from rdrop_cli.core.storage.integrity import sha256_once
from rdrop_cli.errors import DataError
from rdrop_cli.schema import HubConfig

_UNLABELLED = "unsup"
WHOLE = "all"
"""The name of the single split of data without splits."""

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class Source:
    """Named data, not yet read.

    Attributes:
        slug: Short name for folders.
        fingerprint: SHA-256 over the content (for a hub data set: its id and commit).
        splits: A function that streams the rows, for each split: train, validation, test, or `all` alone.
        label_names: Class names in the order of their ids, for each column whose names the source knows.
        passed_over: Files and splits in it that are not used.
    """

    slug: str
    fingerprint: str
    splits: Mapping[str, Callable[[], Iterator[Row]]]
    label_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ()


def open_source(name: str, hub_config: HubConfig | None = None) -> Source:
    """Find data by built-in name, path or hub id, in this order.

    Raises:
        DataError: there is nothing of that name, or the folder contains no data.
        HubError: a data set of the hub cannot be downloaded.
    """
    if name in starter.DATASETS:
        return _builtin(name)
    path = user_path(name)
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        if format_of(path) == "txt":
            raise DataError(
                f"{name}: a text file has no labels", "Give a table, or one folder of .txt files for each class."
            )
        return Source(_slug(path.name.split(".")[0]), _digest([path], path), {WHOLE: partial(read_rows, path)})
    if path.exists():
        raise DataError(f"{name}: is not a regular file", "Save it as one first: rdrop reads it more than once.")
    if path.is_symlink():
        raise DataError(f"{name}: broken link, its target does not exist")
    repository, configuration = hub.parse_dataset(name)
    if hub.looks_like_id(repository) and format_of(path) is None:
        return _hub_dataset(repository, configuration, hub_config or HubConfig())
    near = difflib.get_close_matches(name, starter.DATASETS, n=1)
    raise DataError(
        f"{name}: no such file or folder",
        f"Did you mean {near[0]}?" if near else f"Built-in data: {', '.join(starter.DATASETS)}.",
    )


def _builtin(name: str) -> Source:
    path = starter.reviews_file()

    def rows() -> Iterator[Row]:
        for row in read_rows(path):
            if row.values["source"] == starter.DATASETS[name]:
                yield Row({"text": row.values["text"], "label": row.values["label"]}, name, row.line, row.problem)

    return Source(name, starter.reviews_fingerprint(name), {WHOLE: rows}, {"label": starter.LABEL_NAMES})


def _folder(folder: Path) -> Source:
    """Files named after splits, or a folder of text files for each class (under split folders or not)."""
    tables = sorted(path for path in folder.iterdir() if format_of(path) not in (None, "txt"))
    files = [path for path in tables if path.is_file() or not path.exists()]
    by_split: dict[str, Path] = {}
    for path in files:
        split = _SPLIT_NAMES.get(path.name.split(".")[0].lower())
        if split is not None and not path.exists():
            raise DataError(f"{path}: broken link, its target does not exist", "Fetch or remove it.")
        if split in by_split:
            raise DataError(f"{folder}: both {by_split[split].name} and {path.name} are named as the {split} split")
        if split is not None:
            by_split[split] = path
    if by_split:
        if "train" not in by_split:
            raise DataError(f"{folder}: found {', '.join(path.name for path in by_split.values())}, but no train file")
        splits = {split: partial(read_rows, path) for split, path in by_split.items()}
        others = tuple(path.name for path in files if path not in by_split.values())
        slug, digest = _slug(folder.resolve().name), _digest(list(by_split.values()), folder)
        return Source(slug, digest, splits, passed_over=others)

    split_folders = {
        split: child
        for child in sorted(folder.iterdir())
        if child.is_dir() and (split := _SPLIT_NAMES.get(child.name.lower())) and _class_files(child)
    }
    roots = split_folders or ({WHOLE: folder} if _class_files(folder) else {})
    if not roots:
        raise DataError(
            f"{folder}: no data found in this folder",
            "Expected train/validation/test files (csv, tsv, jsonl, json, parquet), or one folder of .txt files for"
            " each class.",
        )
    if split_folders and "train" not in split_folders:
        raise DataError(f"{folder}: found {', '.join(sorted(split_folders))}, but no train folder")
    texts = [path for root in roots.values() for paths in _class_files(root).values() for path in paths]
    class_splits = {split: partial(_class_rows, root) for split, root in roots.items()}
    unused = [path.name for path in files]
    unused += [f"{root.name}/{_UNLABELLED}" for root in roots.values() if (root / _UNLABELLED).is_dir()]
    slug, digest = _slug(folder.resolve().name), _digest(texts, folder)
    return Source(slug, digest, class_splits, passed_over=tuple(unused))


def _class_files(folder: Path) -> dict[str, list[Path]]:
    """Text files by class folder; `unsup` (IMDb's unlabelled reviews) is not a class."""
    classes = {
        child.name: sorted(child.glob("*.txt"))
        for child in sorted(folder.iterdir())
        if child.is_dir() and child.name != _UNLABELLED and child.name.lower() not in _SPLIT_NAMES
    }
    filled = {name: paths for name, paths in classes.items() if paths}
    return filled if len(filled) > 1 else {}


def _class_rows(folder: Path) -> Iterator[Row]:
    for label, paths in _class_files(folder).items():
        for path in paths:
            text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
            yield Row({"text": text, "label": label}, str(path), 1, encoding_problem(text))


def _hub_dataset(name: str, configuration: str | None, hub_config: HubConfig) -> Source:
    dataset = hub.load_dataset(name, hub_config, configuration)
    splits: dict[str, Callable[[], Iterator[Row]]] = {}
    others = []
    for split_name, split in dataset.splits.items():
        canonical = _SPLIT_NAMES.get(split_name.lower())
        if canonical is None or canonical in splits:
            others.append(f"split {split_name}")
        else:
            splits[canonical] = partial(_hub_rows, split, f"{name}/{split_name}")
    if "train" not in splits:
        raise DataError(f"{name}: no train split; found {', '.join(dataset.splits)}")
    slug = _slug(f"{name}-{configuration}" if configuration else name)
    return Source(slug, dataset.fingerprint, splits, dataset.label_names, tuple(others))


def _hub_rows(split: Iterable[Mapping[str, Any]], where: str) -> Iterator[Row]:
    for number, record in enumerate(split, start=1):
        yield Row(dict(record), where, number)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.").lower() or "data"


def _digest(paths: list[Path], root: Path) -> str:
    """SHA-256 over the files' relative paths and contents."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(f"{path.relative_to(root)}\0".encode() + bytes.fromhex(sha256_once(path)))
        except UnicodeEncodeError as error:
            raise DataError(f"{str(path)!a}: the name is not valid UTF-8", "Rename it.") from error
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()
