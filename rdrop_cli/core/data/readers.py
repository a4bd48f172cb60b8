"""Read rows from files one at a time, each with its line number and, if it is unusable, the reason."""

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

from rdrop_cli.core.data.sniffing import HEAD, encoding_of, encoding_problem
from rdrop_cli.core.storage.once import once_a_version
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
_MAX_FIELD = 2**27
"""Most characters in a field of a table. A longer field is more likely a quote that was never closed."""

_REGULAR = 0.99
"""Share of a table's lines that must have as many tabs as the header for its quotes to be plain characters."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its columns, its file and line, and the reason why it is unusable (None: it is usable)."""

    values: dict[str, Any]
    file: str
    line: int
    problem: str | None = None


def format_of(path: Path) -> str | None:
    """The format by a file's suffix, ignoring `.gz`; None for an unknown suffix."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


def read_rows(path: Path, file_format: str | None = None) -> Iterator[Row]:
    """Stream a file's rows in order.

    A row that cannot be used is yielded with its problem, so that the caller can count, report or refuse it.

    Raises:
        DataError: the file is missing, has an unknown suffix, or cannot be read at all.
    """
    file_format = file_format or format_of(path)
    if file_format is None:
        raise DataError(f"{path}: unknown file type", f"Known: {', '.join(_SUFFIXES)}, each also with .gz.")
    try:
        if file_format == "parquet":
            yield from _read_parquet(path)
            return
        quoted = file_format != "tsv" or not _has_bare_quotes(path)
        with _open_text(path, newline_of(file_format)) as stream:
            yield from read_stream(stream, file_format, str(path), quoted=quoted)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_stream(stream: TextIO, file_format: str, name: str, *, quoted: bool = True) -> Iterator[Row]:
    """Stream rows from open text; undecodable bytes must have been read as surrogate escapes.

    Args:
        quoted: False: quotes are plain characters, and every line is a record.
    """
    if file_format in ("csv", "tsv"):
        return _read_delimited(stream, "\t" if file_format == "tsv" else ",", name, quoted)
    if file_format == "jsonl":
        return _read_json_lines(stream, name)
    if file_format == "json":
        return _read_json(stream, name)
    return _read_text(stream, name)


def newline_of(file_format: str) -> str:
    """The `newline` argument for `open`: csv needs untranslated line ends; otherwise only a line feed ends a line."""
    return "" if file_format in ("csv", "tsv") else "\n"


def stdin_text(newline: str) -> TextIO:
    """Standard input as text, with undecodable bytes as surrogate escapes.

    Raises:
        DataError: it is closed, or its content is not text.
    """
    if sys.stdin is None:
        raise DataError("stdin is closed")
    buffer = sys.stdin.buffer
    # Not in sys.stdin's own buffer: Python closes that at its end, and aborts if a thread still waits for input in it.
    raw = buffer.raw if isinstance(buffer, io.BufferedReader) else cast("io.RawIOBase", buffer)
    return _as_text(io.BufferedReader(raw), newline, "stdin")


def _open_text(path: Path, newline: str) -> TextIO:
    raw = gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # noqa: SIM115 - the wrapper closes it
    try:
        return _as_text(cast("io.BufferedReader", raw), newline, str(path))
    except BaseException:
        raw.close()
        raise


def _as_text(raw: io.BufferedReader, newline: str, name: str) -> TextIO:
    encoding = encoding_of(raw.peek(HEAD)[:HEAD], name)
    errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"  # surrogate escapes hold single bytes
    return io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline=newline)


@once_a_version
def _has_bare_quotes(path: Path) -> bool:
    """True for a table whose quotes are plain characters, as in GLUE's files; parsed as quoting, they would join rows.

    That is assumed if the file violates the quoting rules and nearly every line has as many tabs as the header.
    """
    csv.field_size_limit(_MAX_FIELD)
    widths: list[int] = []

    def lines(stream: TextIO) -> Iterator[str]:
        for line in stream:
            if line.strip():
                widths.append(line.count("\t"))
            yield line

    with _open_text(path, "") as stream:
        try:
            reader = csv.reader(lines(stream), delimiter="\t", strict=True)
            width = len(next(reader, []))
            if all(len(record) in (0, width) for record in reader):
                return False
        except csv.Error:
            pass
        for _ in lines(stream):  # count the tabs of the lines after the violation too
            pass
    return widths.count(widths[0]) >= _REGULAR * len(widths) if widths else False


def _read_delimited(stream: TextIO, delimiter: str, name: str, quoted: bool) -> Iterator[Row]:
    csv.field_size_limit(_MAX_FIELD)
    record: list[str] = []  # the lines of the current record

    def lines() -> Iterator[str]:
        for line in stream:
            record.append(line)
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    start = 1
    try:
        header = next(reader, None)
        if header is None:
            raise DataError(f"{name}: the file is empty")
        header = [column.strip() for column in header]
        _check_header(header, name, record)
        record.clear()
        start = reader.line_num + 1
        for fields in reader:
            line, start = start, reader.line_num + 1
            last = record.copy()
            record.clear()
            if not fields and len(header) > 1:
                continue
            fields = fields or [""]  # in a file with one column, a blank line is an empty text
            problem = None
            if quoted and len(last) > 1 and _is_open(last, delimiter):
                raise DataError(f"{name}, line {line}: a quote is opened here and never closed")
            if len(fields) != len(header):
                problem = f"{len(fields)} fields, but the header has {len(header)}"
            problem = problem or next(filter(None, map(encoding_problem, fields)), None)
            yield Row(dict(zip(header, fields, strict=False)), name, line, problem)
    except csv.Error as error:
        hint = "Is a quote never closed?" if "limit" in str(error) else None
        raise DataError(f"{name}, line {start}: {error}", hint) from error


def _check_header(header: list[str], name: str, record: list[str]) -> None:
    if header and header[0].startswith(("{", "[")):
        raise DataError(f"{name}: contains JSON, not a table", "Name it .jsonl (one object per line) or .json.")
    for separator, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            hint = "Name it .tsv." if separator == "\t" else "Save it with commas, or with tabs as .tsv."
            raise DataError(f"{name}: the columns are separated by {word}, which does not match the file name", hint)
    seen: set[str] = set()
    for column in header:
        if column in seen:
            raise DataError(f"{name}, line 1: column {column!r} appears twice")
        seen.add(column)


def _is_open(record: list[str], delimiter: str) -> bool:
    """True if a record's lines end inside quotes, which the csv module accepts at the end of a file."""
    try:
        list(csv.reader(record, delimiter=delimiter, strict=True))
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _read_json_lines(stream: TextIO, name: str) -> Iterator[Row]:
    for number, line in enumerate(stream, start=1):
        if number == 1 and line.lstrip().startswith("["):
            raise DataError(f"{name}: contains a JSON array, not one object per line", "Name it .json.")
        if line.strip():
            yield _json_row(line, name, number)


def _json_row(line: str, name: str, number: int) -> Row:
    if problem := encoding_problem(line):
        return Row({}, name, number, problem)
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Row({}, name, number, f"not valid JSON ({error})")
    if not isinstance(record, dict):
        return Row({}, name, number, "not a JSON object")
    return Row(record, name, number)


def _read_json(stream: TextIO, name: str) -> Iterator[Row]:
    content = stream.read()
    if problem := encoding_problem(content):
        raise DataError(f"{name}: {problem}")
    try:
        records = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not valid JSON ({error})", "One object per line? Name it .jsonl.") from error
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
        yield Row({"text": text}, name, number, encoding_problem(text))


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path.absolute()) as table:
            names = table.schema_arrow.names
            if repeated := sorted({name for name in names if names.count(name) > 1}):
                raise DataError(f"{path}: column {repeated[0]!r} appears twice")
            for batch in table.iter_batches(batch_size=4096):
                for record in batch.to_pylist():
                    number += 1
                    yield Row(record, str(path), number)
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a parquet file, or damaged") from error
    except (ValueError, OverflowError) as error:  # text that is not UTF-8, dates beyond Python's range
        raise DataError(f"{path}, after row {number}: a value cannot be read ({error})") from error
