"""The texts to classify: from the command line, a file, or standard input. No row is ever dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from rdrop_cli.core.data.columns import ColumnNames, Columns, choose_columns
from rdrop_cli.core.data.readers import FORMATS, Row, format_of, newline_of, read_rows, read_stream, stdin_text
from rdrop_cli.core.storage.files import user_path
from rdrop_cli.errors import ConfigError, DataError

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Input:
    """A text, and the second text of a pair if the model classifies pairs.

    Attributes:
        problem: Where the row is and why it has no usable text; None: it has one.
    """

    text: str
    pair: str | None = None
    problem: str | None = None


class Inputs:
    """Iterates over the inputs once.

    A row without a usable text is still an input, with an empty or repaired text, so that output rows match input rows
    (a blank line is a row of a text file or of a one-column table).

    Args:
        texts: The texts; None: read `source`.
        source: A file, or `-` for standard input.
        input_format: Format of the source; None: by suffix, and `txt` for standard input.
        named: The columns to read; those not named are chosen. No label column is needed.
        defaults: The columns of the checkpoint's training data.

    Attributes:
        problems: The number of rows without a usable text, after the iteration.
        columns: The columns in use; None: not known yet, or none.
    """

    def __init__(
        self,
        texts: Sequence[str] | None,
        source: str | None,
        *,
        input_format: str | None = None,
        named: ColumnNames | None = None,
        defaults: ColumnNames,
    ) -> None:
        self.texts = texts
        self.source = source or STDIN
        self.input_format = input_format
        self.named = named or ColumnNames()
        self.defaults = defaults
        self.problems = 0
        self.first_problem = ""
        self._rows: Iterator[Row] = iter(())
        self.columns: Columns | None = None

    def check(self, *, wait: bool = True) -> None:
        """Check file, format and columns, which is possible before a model is loaded.

        Args:
            wait: Wait for the first row, which shows the columns; False: it is read, and they are checked, by the
                iteration.

        Raises:
            DataError: the input cannot be read, lacks a column, or is not a pair for a model of pairs.
            ConfigError: the input format is unknown.
        """
        if self.input_format is not None and self.input_format not in FORMATS:
            raise ConfigError(f"--input-format {self.input_format}: unknown", f"Known: {', '.join(FORMATS)}.")
        if self.texts is not None:
            if pair := self.defaults.text_pair:
                hint = f"Give a file with columns {self.defaults.text} and {pair} with --input."
                raise DataError("this checkpoint classifies pairs of texts", hint)
            return
        rows = self._open()
        first = next(rows, None) if wait else None
        self._rows = rows if first is None else chain([first], rows)
        if first is not None and first.values:
            self.columns = self._choose(first)

    def _open(self) -> Iterator[Row]:
        if self.source == STDIN:
            stdin_format = self.input_format or "txt"
            if stdin_format == "parquet":
                raise DataError("parquet cannot be read from stdin", "Give a file.")
            return _stdin_rows(stdin_format)
        path = user_path(self.source)
        if path.is_dir():
            raise DataError(f"{path}: is a folder", "Give a file.")
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: is not a regular file", "Read a pipe with --input -.")
        return read_rows(path, self.input_format or format_of(path))

    def _choose(self, row: Row) -> Columns:
        defaults = self.defaults
        if row.values.keys() == {"text"} and not self.named.text:
            defaults = replace(self.defaults, text="text")
        return choose_columns(row.values, row.file, self.named, defaults, need_label=False)

    def __iter__(self) -> Iterator[Input]:
        if self.texts is not None:
            yield from map(Input, map(repaired, self.texts))
            return
        for row in self._rows:
            if self.columns is None and row.values:
                self.columns = self._choose(row)
            item = _input(row, self.columns)
            if item.problem is not None:
                item = replace(item, problem=f"{row.file}, line {row.line}: {item.problem}")
                self.problems += 1
                self.first_problem = self.first_problem or str(item.problem)
            yield item


def _stdin_rows(stdin_format: str) -> Iterator[Row]:
    """Standard input's rows; the first one asked for waits until there is something to read."""
    yield from read_stream(stdin_text(newline_of(stdin_format)), stdin_format, "stdin")


def _input(row: Row, columns: Columns | None) -> Input:
    if columns is None:
        return Input("", problem=row.problem or "no text")
    value = row.values.get(columns.text)
    problem = row.problem or _problem_of(columns.text, value)
    if columns.text_pair is None:
        return Input(repaired(value), problem=problem)
    second = row.values.get(columns.text_pair)
    return Input(repaired(value), repaired(second), problem or _problem_of(columns.text_pair, second))


def _problem_of(column: str, value: object) -> str | None:
    if value is None:
        return f"{column} is missing"
    return None if isinstance(value, str) else f"{column} is {type(value).__name__}, not text"


def repaired(value: Any) -> str:
    """Text in which invalid bytes and lone surrogates are replaced by U+FFFD."""
    text = "" if value is None else str(value)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
