"""Reading rows out of files, one at a time, with the line each came from and what is wrong with it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

from rdrop_cli.errors import DataError

FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "txt")
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".txt": "txt",
}
_MAX_FIELD = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its columns, where it stood, and what makes it unusable (None: nothing)."""

    values: dict[str, Any]
    file: str
    line: int
    problem: str | None = None


def format_of(path: Path) -> str | None:
    """The format that a file's name promises, `.gz` looked through; None when it promises none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


def read_rows(path: Path, file_format: str | None = None) -> Iterator[Row]:
    """Stream a file's rows in order.

    A row that cannot be used is yielded with its problem, so that the caller may count, report or refuse it.

    Raises:
        DataError: the file is missing, has an unknown suffix, or is broken as a whole.
    """
    file_format = file_format or format_of(path)
    if file_format is None:
        raise DataError(f"{path}: unknown kind of file", f"Known: {', '.join(_SUFFIXES)}, each also with .gz.")
    try:
        if file_format == "parquet":
            yield from _read_parquet(path)
            return
        with _open_text(path, newline_of(file_format)) as stream:
            yield from read_stream(stream, file_format, str(path))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_stream(stream: TextIO, file_format: str, name: str) -> Iterator[Row]:
    """Stream rows from open text; undecodable bytes must have been read as surrogate escapes."""
    if file_format in ("csv", "tsv"):
        return _read_delimited(stream, "\t" if file_format == "tsv" else ",", name)
    if file_format == "jsonl":
        return _read_json_lines(stream, name)
    if file_format == "json":
        return _read_json(stream, name)
    return _read_text(stream, name)


def newline_of(file_format: str) -> str:
    """How to open text: csv needs its line ends untouched; elsewhere only a line feed ends a line."""
    return "" if file_format in ("csv", "tsv") else "\n"


def stdin_text(newline: str) -> TextIO:
    """Standard input as text, undecodable bytes kept as surrogate escapes."""
    return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _open_text(path: Path, newline: str) -> TextIO:
    raw = gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # noqa: SIM115 - the wrapper closes it
    return io.TextIOWrapper(
        cast(io.BufferedReader, raw), encoding="utf-8-sig", errors="surrogateescape", newline=newline
    )


def is_valid_text(text: str) -> bool:
    """False where bytes that are not UTF-8 stood, or half a character that JSON can escape (a lone surrogate)."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _read_delimited(stream: TextIO, delimiter: str, name: str) -> Iterator[Row]:
    csv.field_size_limit(_MAX_FIELD)
    reader = csv.reader(stream, delimiter=delimiter)
    try:
        header = next(reader, None)
        if header is None:
            raise DataError(f"{name}: the file is empty")
        header = [column.strip() for column in header]
        repeated = {column for column in header if header.count(column) > 1}
        if repeated:
            raise DataError(f"{name}, line 1: column {sorted(repeated)[0]!r} appears twice")
        line = reader.line_num + 1
        for fields in reader:
            start, line = line, reader.line_num + 1
            if not fields and len(header) > 1:
                continue
            fields = fields or [""]  # with one column a blank line is an empty text
            problem = None
            if len(fields) != len(header):
                problem = f"{len(fields)} fields where the header has {len(header)}"
            elif not all(is_valid_text(field) for field in fields):
                problem = "not valid UTF-8"
            yield Row(dict(zip(header, fields, strict=False)), name, start, problem)
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: {error}") from error


def _read_json_lines(stream: TextIO, name: str) -> Iterator[Row]:
    for number, line in enumerate(stream, start=1):
        if line.strip():
            yield _json_row(line, name, number)


def _json_row(line: str, name: str, number: int) -> Row:
    if not is_valid_text(line):
        return Row({}, name, number, "not valid UTF-8")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Row({}, name, number, f"not valid JSON ({error})")
    if not isinstance(record, dict):
        return Row({}, name, number, "not a JSON object")
    return Row(record, name, number)


def _read_json(stream: TextIO, name: str) -> Iterator[Row]:
    content = stream.read()
    if not is_valid_text(content):
        raise DataError(f"{name}: not valid UTF-8")
    try:
        records = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not valid JSON ({error})", "One object a line? Name it .jsonl.") from error
    if isinstance(records, dict) and isinstance(records.get("data"), list):
        records = records["data"]
    if not isinstance(records, list):
        raise DataError(f"{name}: expected an array of objects")
    for number, record in enumerate(records, start=1):
        if isinstance(record, dict):
            yield Row(record, name, number)
        else:
            yield Row({}, name, number, "not a JSON object")


def _read_text(stream: TextIO, name: str) -> Iterator[Row]:
    for number, line in enumerate(stream, start=1):
        text = line.rstrip("\n").removesuffix("\r")
        yield Row({"text": text}, name, number, None if is_valid_text(text) else "not valid UTF-8")


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            number = 0
            for batch in table.iter_batches(batch_size=4096):
                for record in batch.to_pylist():
                    number += 1
                    yield Row(record, str(path), number)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a parquet file, or a damaged one") from error
