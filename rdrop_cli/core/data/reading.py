"""Read a source into examples by split, and record every row that is left out with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.data.columns import ColumnNames, Columns, check_row, choose_columns, resolve_columns
from rdrop_cli.core.data.labels import canonical
from rdrop_cli.core.data.sources import WHOLE, Source
from rdrop_cli.errors import DataError

if TYPE_CHECKING:
    from rdrop_cli.core.data.readers import Row
    from rdrop_cli.core.progress import Progress
    from rdrop_cli.schema import DataConfig

UNLABELLED = "-1"
"""The id that data sets on the hub give to examples without a label."""


@dataclass(frozen=True, slots=True)
class Example:
    """A usable row: its texts, its label as written in the data, and its file and line."""

    text: str
    pair: str | None
    label: str
    file: str
    line: int


@dataclass(frozen=True)
class Rejected:
    """A row that is left out."""

    split: str
    file: str
    line: int
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """The form in rejected.jsonl."""
        return {"file": self.file, "line": self.line, "reason": self.reason}


@dataclass
class Reading:
    """What was read from a source.

    Attributes:
        columns: The columns of the train split.
        examples: By split: `all` alone, or train first.
        rows: The number of rows in each split.
        unlabelled: The number of rows in each split that was left out because it has no labels at all.
    """

    columns: Columns
    examples: dict[str, list[Example]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    unlabelled: dict[str, int] = field(default_factory=dict)


def named_columns(row: Row, config: DataConfig) -> Columns:
    """The columns of training data: the configured ones, else those with usual names.

    Raises:
        DataError: a column is missing.
    """
    named = ColumnNames(config.text_column, config.label_column, config.text_pair_column)
    return resolve_columns(row.values, row.file, named)


def read_source(
    source: Source,
    config: DataConfig,
    *,
    columns: Mapping[str, str | None] | None = None,
    on_progress: Progress,
) -> Reading:
    """Read all splits, with the columns chosen from train (or from all, if the source has no splits).

    Args:
        columns: The columns of the train split, if a run has recorded them.

    Raises:
        DataError: the source cannot be read, a column is missing, or there is no usable row to train on.
    """
    first = WHOLE if WHOLE in source.splits else "train"
    recorded = ColumnNames.from_record(columns)
    known = Columns(recorded.text, recorded.label, recorded.text_pair) if recorded.text is not None else None
    train = _read_split(source, first, lambda row: known or named_columns(row, config), on_progress)
    if train.columns is None or not train.examples:
        shown = train.rejected[:1]
        where = "".join(f"; {row.file}, line {row.line}: {row.reason}" for row in shown)
        raise DataError(f"{config.source}: no usable rows{where}")
    used = train.columns
    reading = Reading(used, {first: train.examples}, {first: train.rows}, train.rejected)
    # Unless -1 is a class of train, it stands for a missing label, as in data sets on the hub.
    is_class = any(example.label == UNLABELLED for example in train.examples)
    for name in source.splits:
        if name == first:
            continue
        split = _read_split(source, name, lambda row: _like_train(row, used), on_progress, none=not is_class)
        reading.rows[name] = split.rows
        if split.rows and not split.has_labels:
            reading.unlabelled[name] = split.rows
        else:
            reading.examples[name] = split.examples
            reading.rejected += split.rejected
    return reading


@dataclass
class _Split:
    columns: Columns | None = None
    examples: list[Example] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    rows: int = 0
    has_labels: bool = False


def _read_split(
    source: Source, name: str, choose: Callable[[Row], Columns], on_progress: Progress, *, none: bool = False
) -> _Split:
    """Read one split.

    Args:
        none: -1 means that there is no label; it always does if the source names the ids.
    """
    split = _Split()
    stage = f"Reading {name}" if name != WHOLE else "Reading"
    for row, columns, problem in check_row(_counted(source.splits[name](), stage, on_progress), choose):
        split.columns = columns
        split.rows += 1
        label = canonical(row.values.get(columns.label)) if columns and columns.label and not row.problem else None
        if columns and label == UNLABELLED and (none or columns.label in source.label_names):
            label, problem = None, problem or f"{columns.label} is missing (-1)"
        split.has_labels |= label is not None
        if problem is not None or columns is None or label is None:
            split.rejected.append(Rejected(name, row.file, row.line, problem or "the label is missing"))
            continue
        pair = row.values[columns.text_pair] if columns.text_pair else None
        split.examples.append(Example(row.values[columns.text], pair, label, row.file, row.line))
    return split


def _like_train(row: Row, train: Columns) -> Columns:
    """Another split's columns: those of the train split if it has them; the label column may be missing."""
    try:
        return choose_columns(row.values, row.file, ColumnNames(), train)
    except DataError:
        return choose_columns(row.values, row.file, ColumnNames(), train, need_label=False)


def _counted(rows: Iterator[Row], stage: str, on_progress: Progress) -> Iterator[Row]:
    count = 0
    for row in rows:
        yield row
        count += 1
        if count % 1000 == 0:
            on_progress(stage, count, None)
    on_progress(stage, count, count)
