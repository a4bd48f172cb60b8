"""Labelled examples to evaluate on: a run's own split, or data named by the user. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rdrop_cli.config import load_recorded
from rdrop_cli.core.data import left_out
from rdrop_cli.core.data.columns import ColumnNames, Columns, check_row, choose_columns
from rdrop_cli.core.data.dataset import SETTINGS_BEFORE, Prepared, is_prepared, load_prepared, load_recorded_data
from rdrop_cli.core.data.labels import canonical
from rdrop_cli.core.data.prepare import read_and_split
from rdrop_cli.core.data.reading import UNLABELLED
from rdrop_cli.core.data.sources import WHOLE, open_source
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.storage.files import user_path
from rdrop_cli.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from rdrop_cli.core.data.readers import Row
    from rdrop_cli.core.progress import Progress
    from rdrop_cli.core.runs.checkpoint import Checkpoint
    from rdrop_cli.schema import HubConfig


@dataclass(frozen=True)
class Examples:
    """Texts with their labels as written in the data.

    Attributes:
        name: The name of the data, for display.
        labels: Names or ids.
        names: The data's own names of its ids, if it has any.
        where: Gives the file and line of an example by its index, for messages.
        columns: The columns in use.
        rejected: Rows left out: file, line, reason.
        left_out: How many rows were left out for each reason.
    """

    name: str
    split: str
    texts: list[str]
    pairs: list[str] | None
    labels: list[str]
    where: Callable[[int], str]
    columns: Mapping[str, str | None] = field(default_factory=dict)
    rejected: list[dict[str, object]] = field(default_factory=list)
    left_out: Mapping[str, int] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def examples_of_run(checkpoint: Checkpoint, split: str, on_progress: Progress) -> Examples:
    """A split of the data of a checkpoint's run, from its prepared folder or prepared again from its source.

    Raises:
        CheckpointError: the checkpoint belongs to no run.
        DataError: the data is missing or has changed.
    """
    if checkpoint.run is None:
        raise CheckpointError(
            f"{checkpoint.name}: not part of a run, so its test data is unknown", "Give DATA to evaluate on."
        )
    record = read_record(checkpoint.run)
    data = _recorded(checkpoint.run, record, on_progress)
    return _of_split(data, str(record["source"]["name"]), split)


def examples_of_source(
    source: str,
    split: str,
    *,
    named: ColumnNames,
    checkpoint: Checkpoint,
    hub_config: HubConfig,
    allow_rejects: bool = False,
    on_progress: Progress,
) -> Examples:
    """Read data by name (a prepared folder or a source): the named split, or everything if it has no splits.

    Args:
        named: The columns to read; those not named are chosen.
        checkpoint: If a column is not named, the one of its training data is used, if this data has it.
        allow_rejects: Leave out rows that cannot be used, however many there are.

    Raises:
        DataError: the data cannot be read, has no such split or column, or has no usable or too many unusable rows.
    """
    folder = user_path(source)
    if is_prepared(folder):
        if named != ColumnNames():
            raise DataError(
                f"{source} is already prepared, so columns cannot be named", "Name the original data instead."
            )
        return _of_split(load_prepared(folder), source, split)
    opened = open_source(source, hub_config)
    chosen = WHOLE if WHOLE in opened.splits else split
    if chosen not in opened.splits:
        raise DataError(f"{source}: no {split} split", f"It has {', '.join(opened.splits)}; choose one with --split.")
    columns: Columns | None = None
    texts, pairs, labels, places = [], [], [], []
    rejected: list[dict[str, object]] = []

    def choose(row: Row) -> Columns:
        return choose_columns(row.values, row.file, named, checkpoint.columns)

    count = 0
    for count, (row, columns, problem) in enumerate(check_row(opened.splits[chosen](), choose), start=1):
        are_ids = columns is not None and columns.label in opened.label_names
        if columns and columns.label and are_ids and canonical(row.values.get(columns.label)) == UNLABELLED:
            problem = problem or f"{columns.label} is missing (-1)"
        if problem is not None or columns is None or columns.label is None:
            rejected.append({"file": row.file, "line": row.line, "reason": problem})
            continue
        value = canonical(row.values[columns.label]) or ""
        texts.append(row.values[columns.text])
        pairs.append(row.values[columns.text_pair] if columns.text_pair else "")
        labels.append(value)
        places.append((row.file, row.line))
        if count % 1000 == 0:
            on_progress("Reading", count, None)
    if not texts:
        first = f"; {rejected[0]['file']}, line {rejected[0]['line']}: {rejected[0]['reason']}" if rejected else ""
        raise DataError(f"{source}: no usable rows{first}")
    reasons = left_out.by_reason(str(row["reason"]) for row in rejected)
    if not allow_rejects:
        left_out.check_rows(source, reasons, count)
    assert columns is not None, "there are usable rows"
    return Examples(
        source,
        chosen,
        texts,
        pairs if columns.text_pair else None,
        labels,
        lambda index: f"{places[index][0]}, line {places[index][1]}",
        columns.as_dict(),
        rejected,
        reasons,
        opened.label_names.get(columns.label or "", ()),
    )


def _recorded(run: Path, record: Mapping[str, object], on_progress: Progress) -> Prepared:
    prepared = load_recorded_data(record)
    if prepared is not None:
        return prepared
    config = load_recorded(run / layout.CONFIG)
    source = record["source"]
    name = str(source["name"]) if isinstance(source, dict) else config.data.source
    if is_prepared(Path(config.data.source)):
        name = config.data.source
    settings = config.data.model_copy(update={"source": name})
    if isinstance(source, dict) and isinstance(source.get("settings"), dict):
        settings = settings.model_copy(update={**SETTINGS_BEFORE, **source["settings"]})
    data = read_and_split(open_source(name, config.hub), settings, columns=_columns(record), on_progress=on_progress)
    if data.fingerprint != record["fingerprint"]:
        raise DataError(f"{name}: the data has changed since {run} was trained", "Give DATA to evaluate on other data.")
    return data


def _of_split(data: Prepared, name: str, split: str) -> Examples:
    examples = data.split(split)
    labels = [data.labels.names[label] for label in examples.labels]
    return Examples(
        name,
        split,
        examples.texts,
        examples.pairs,
        labels,
        lambda index: f"{name}, {split} example {index + 1}",
        data.columns,
        left_out=left_out.record(data.report)["rejected"].get(split, {}),
    )


def _columns(record: Mapping[str, object]) -> Mapping[str, str | None] | None:
    """The columns of its data that a run recorded; None if it recorded none."""
    columns = record.get("columns")
    return columns if isinstance(columns, dict) and columns.keys() >= {"text", "label", "text_pair"} else None
