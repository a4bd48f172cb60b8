"""The prepared folder: texts and labels by split, rejected rows, and tokens for each tokenizer used so far."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from rdrop_cli.core.data.audit import class_balance
from rdrop_cli.core.data.labels import LabelMap
from rdrop_cli.core.data.tables import load_tokens, read_table, save_tokens, write_table
from rdrop_cli.core.data.tokens import Tokens, encode, tokenizer_fingerprint
from rdrop_cli.core.storage.files import user_path, write_text, writing_folder
from rdrop_cli.core.storage.integrity import checksum_holds, with_checksum
from rdrop_cli.errors import ConfigError, DataError, StorageError, one_line
from rdrop_cli.schema import Config, DataConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOT_OF_THE_DATA = {"source", "allow_rejects"}
"""Keys that do not change what prepared data holds."""
MANIFEST = "prepared.json"
REJECTED = "rejected.jsonl"
_TOKENS = "tokens.parquet"
SPLITS = ("train", "validation", "test")
SETTINGS_BEFORE: Mapping[str, Any] = {"label_map": {}, "positive_label": None, "repeats": "exact"}
"""Values that apply to data prepared before these keys existed."""
_FORMAT = 2
_AGAIN = "Prepare it again with --overwrite, or name the original data instead."


@dataclass(frozen=True)
class Split:
    """Examples of one split, in their original order."""

    texts: list[str]
    pairs: list[str] | None
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Prepared:
    """A prepared data set.

    Attributes:
        fingerprint: SHA-256 over class names and every split's texts and labels.
        columns: The source's columns that were used: text, label, text_pair.
        report: Counts and notes about the data; see `prepare`.
        source: The data that the user named, with its settings; enough to prepare it again.
        folder: The folder it is saved in; None if it is not saved.
    """

    labels: LabelMap
    splits: dict[str, Split]
    columns: dict[str, str | None]
    report: dict[str, Any]
    source: dict[str, Any]
    rejected: list[dict[str, Any]] = field(default_factory=list)
    folder: Path | None = None

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(json.dumps(self.labels.names).encode())
        for name in SPLITS:
            if name in self.splits:
                split = self.splits[name]
                digest.update(f"\n{name}\n".encode())
                for index, text in enumerate(split.texts):
                    pair = split.pairs[index] if split.pairs is not None else None
                    digest.update(json.dumps([text, pair, int(split.labels[index])]).encode())
        return digest.hexdigest()

    def split(self, name: str) -> Split:
        """One split.

        Raises:
            DataError: there is no split of that name.
        """
        if name not in self.splits:
            raise DataError(f"this data has no {name} split", f"It has: {', '.join(self.splits)}.")
        return self.splits[name]

    def class_counts(self, split: str) -> dict[str, int]:
        """How many examples of each class a split has, in the order of the ids.

        Raises:
            DataError: there is no split of that name.
        """
        return class_balance(self.split(split).labels.tolist(), self.labels)

    def save(self, folder: Path) -> Prepared:
        """Write the folder, replacing an earlier prepared one.

        Raises:
            DataError: the folder contains something else.
            StorageError: it cannot be written.
        """
        if folder.exists() and not is_prepared(folder) and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"{folder}: already exists and is not a prepared folder", "Give another --out.")
        with writing_folder(folder) as staging:
            for name, split in self.splits.items():
                columns: dict[str, Any] = {"text": split.texts, "label": split.labels}
                if split.pairs is not None:
                    columns["text_pair"] = split.pairs
                write_table(columns, staging / f"{name}.parquet")
            with (staging / REJECTED).open("w", encoding="utf-8") as stream:
                stream.writelines(json.dumps(row, ensure_ascii=True) + "\n" for row in self.rejected)
            (staging / MANIFEST).write_text(with_checksum(self._manifest()), encoding="utf-8")
        return self._with(folder=folder)

    def _with(self, **changes: Any) -> Prepared:
        """A copy with the same examples, and so the same fingerprint, which is not computed again."""
        changed = replace(self, **changes)
        changed.__dict__["fingerprint"] = self.fingerprint  # cached_property looks here before computing
        return changed

    def _manifest(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "labels": list(self.labels.names),
            "columns": self.columns,
            "splits": {name: len(split) for name, split in self.splits.items()},
            "report": self.report,
        }

    def token_cache(self, split: str, tokenizer: str, max_length: int) -> Path | None:
        """Where `tokens` keeps a split's tokens; None: nowhere, as these data are not in a folder.

        The data's fingerprint is part of the path, because another process may prepare other data in this folder.

        Args:
            tokenizer: The tokenizer's fingerprint.
            max_length: Longest input in tokens, special tokens included.
        """
        if self.folder is None:
            return None
        return self.folder / "tokens" / f"{self.fingerprint[:16]}-{tokenizer[:16]}-{max_length}" / split / _TOKENS

    def tokens(
        self,
        split: str,
        tokenizer: Any,
        *,
        max_length: int,
        on_progress: Callable[[int], None] | None = None,
    ) -> Tokens:
        """A split's tokens, read from the folder if this tokenizer and length were used before.

        Args:
            max_length: Longest input in tokens, special tokens included.
            on_progress: Called with the number of texts just encoded.
        """
        examples = self.split(split)
        cache = None
        # The fingerprint of a tokenizer without a backend does not cover its rules, so its tokens are not cached.
        if getattr(tokenizer, "backend_tokenizer", None) is not None:
            cache = self.token_cache(split, tokenizer_fingerprint(tokenizer), max_length)
        if cache is not None:
            # A missing or damaged cache is no error: encode again.
            with contextlib.suppress(OSError, pa.ArrowException, LookupError, ValueError, TypeError, AttributeError):
                tokens = load_tokens(cache)
                if (
                    len(tokens) == len(examples)
                    and tokens.ids.min(initial=0) >= 0
                    and tokens.ids.max(initial=0) < len(tokenizer)
                ):
                    return tokens
        tokens = encode(tokenizer, examples.texts, examples.pairs, max_length=max_length, on_progress=on_progress)
        if cache is not None:
            # Without the cache the next run only takes longer.
            with contextlib.suppress(StorageError), writing_folder(cache.parent) as staging:
                save_tokens(tokens, staging / cache.name)
        return tokens

    def record_report(self, report: Mapping[str, Any]) -> Prepared:
        """The same data with a new report, also saved in the folder if that can be written."""
        updated = self._with(report=dict(report))
        if self.folder is not None:
            with contextlib.suppress(StorageError):
                write_text(self.folder / MANIFEST, with_checksum(updated._manifest()))
        return updated


def adopt_settings(config: Config, asked: Collection[str] = ()) -> Config:
    """Replace a configuration's data settings by those that the prepared folder was made with.

    Args:
        asked: Keys that count as given even with their defaults.

    Raises:
        ConfigError: a data setting was given that differs from the folder's and would have no effect.
    """
    folder = user_path(config.data.source)
    stored = {**SETTINGS_BEFORE, **_read_settings(folder)}
    plain = DataConfig().model_dump()
    given = config.data.model_dump(exclude=NOT_OF_THE_DATA)
    ignored = [
        key for key, value in given.items() if value != stored.get(key) and (key in asked or value != plain[key])
    ]
    if ignored:
        raise ConfigError(
            f"{folder} is already prepared, so data.{ignored[0]} has no effect", "Name the original data instead."
        )
    kept = {"source": config.data.source, "allow_rejects": config.data.allow_rejects}
    try:
        return config.model_copy(update={"data": DataConfig(**{**stored, **kept})})
    except ValidationError as error:
        raise DataError(f"{folder}: prepared by another version of rdrop", _AGAIN) from error


def is_prepared(folder: Path) -> bool:
    """True for a folder that `Prepared.save` wrote."""
    return (folder / MANIFEST).is_file()


def _read_settings(folder: Path) -> dict[str, Any]:
    """The settings that a prepared folder was prepared with, without reading its texts.

    Raises:
        DataError: its manifest is damaged or of another version.
    """
    with _map_damage(folder):
        settings: dict[str, Any] = _read_manifest(folder)["source"]["settings"]
        return settings


def load_prepared(folder: Path) -> Prepared:
    """Read a prepared folder.

    Raises:
        DataError: it is damaged or of another version.
    """
    with _map_damage(folder):
        manifest = _read_manifest(folder)
        splits = {}
        for name in manifest["splits"]:
            table = read_table(folder / f"{name}.parquet")
            pairs = table["text_pair"].to_pylist() if "text_pair" in table.column_names else None
            splits[name] = Split(table["text"].to_pylist(), pairs, table["label"].to_numpy().astype(np.int64))
        with (folder / REJECTED).open(encoding="utf-8") as stream:
            rejected = [json.loads(line) for line in stream]
        if not all(isinstance(row, dict) and {"file", "line", "reason"} <= row.keys() for row in rejected):
            raise ValueError(f"{REJECTED} has been changed")
        prepared = Prepared(
            LabelMap(tuple(manifest["labels"])),
            splits,
            manifest["columns"],
            manifest["report"],
            manifest["source"],
            rejected,
            folder,
        )
        if prepared.fingerprint != manifest["fingerprint"]:
            raise DataError(f"{folder}: the examples have changed since they were prepared", _AGAIN)
        return prepared


def load_recorded_data(record: Mapping[str, Any]) -> Prepared | None:
    """The prepared data that a run recorded; None if it has been moved, removed or changed."""
    try:
        data = load_prepared(Path(str(record.get("prepared"))))
    except DataError:
        return None
    return data if data.fingerprint == record.get("fingerprint") else None


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest.get("format") != _FORMAT:
        raise DataError(f"{folder}: prepared by another version of rdrop", _AGAIN)
    if not checksum_holds(manifest):
        raise DataError(f"{folder}: {MANIFEST} has been changed since it was written", _AGAIN)
    return manifest


@contextlib.contextmanager
def _map_damage(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError, pa.ArrowException) as error:
        raise DataError(f"{folder}: damaged prepared folder ({one_line(error)})", _AGAIN) from error
