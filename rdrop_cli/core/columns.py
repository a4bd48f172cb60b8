"""Which columns hold text and label, and which rows cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from rdrop_cli.core.detection import is_valid_text
from rdrop_cli.core.labels import canonical
from rdrop_cli.core.readers import Row
from rdrop_cli.errors import DataError

TEXT_COLUMNS = ("text", "sentence", "review", "content", "comment", "question", "sentence1")
LABEL_COLUMNS = ("label", "labels", "sentiment", "class", "category", "target", "coarse_label")


@dataclass(frozen=True)
class Columns:
    """The columns of a source that hold text, label and second text."""

    text: str
    label: str | None
    text_pair: str | None


def resolve_columns(
    available: Iterable[str],
    where: str,
    *,
    text: str | None,
    label: str | None,
    text_pair: str | None,
    need_label: bool = True,
) -> Columns:
    """Choose the columns: the named ones, else those with a usual name.

    Raises:
        DataError: a column is not there; with the columns that are.
    """
    names = list(available)

    def pick(role: str, wanted: str | None, usual: tuple[str, ...]) -> str:
        if wanted is not None and wanted in names:
            return wanted
        if wanted is None:
            for name in usual:
                if name in names:
                    return name
        missing = f"no column {wanted!r}" if wanted is not None else f"no {role} column ({', '.join(usual[:3])}, ...)"
        has = ", ".join(repr(name[:40]) for name in names[:20]) + (f" and {len(names) - 20:,} more" * (len(names) > 20))
        raise DataError(f"{where}: {missing}; it has {has}", f"Name it with --{role}-column.")

    return Columns(
        pick("text", text, TEXT_COLUMNS),
        pick("label", label, LABEL_COLUMNS) if need_label else None,
        pick("text-pair", text_pair, ()) if text_pair is not None else None,
    )


def choose_columns(
    available: Mapping[str, object],
    where: str,
    text: str | None,
    label: str | None,
    text_pair: str | None,
    defaults: Mapping[str, str | None],
    *,
    need_label: bool = True,
) -> Columns:
    """The named columns, else the checkpoint's where the data has them, else the usual ones.

    A checkpoint trained on pairs needs a pair here too.

    Raises:
        DataError: a column is not there.
    """

    def default(role: str) -> str | None:
        name = defaults.get(role)
        return name if name in available else None

    return resolve_columns(
        available,
        where,
        text=text or default("text"),
        label=label or default("label"),
        text_pair=text_pair or defaults.get("text_pair"),
        need_label=need_label,
    )


def screen(rows: Iterable[Row], choose: Callable[[Row], Columns]) -> Iterator[tuple[Row, Columns | None, str | None]]:
    """Each row with the columns, chosen at the first row that has any, and why it cannot be used (None: it can)."""
    columns: Columns | None = None
    for row in rows:
        if columns is None and row.values:
            columns = choose(row)
        yield row, columns, row.problem or (problem_of(row, columns) if columns else "no columns")


def problem_of(row: Row, columns: Columns) -> str | None:
    """Why a row cannot be used: a text that is missing, empty or no text, or a missing label. None: it can."""
    for column in filter(None, (columns.text, columns.text_pair)):
        value = row.values.get(column)
        if value is None:
            return f"{column} is missing"
        if not isinstance(value, str):
            return f"{column} is not text but {type(value).__name__}"
        if not value.strip():
            return f"{column} is empty"
        if not is_valid_text(value):
            return f"{column} holds half a character (a lone surrogate)"
    if columns.label is None:
        return None
    label = row.values.get(columns.label)
    if not isinstance(label, str | int | float | Decimal | None):
        return f"{columns.label} is not a name or a number but {type(label).__name__}"
    if canonical(label) is None:
        return f"{columns.label} is missing"
    if isinstance(label, str) and not is_valid_text(label):
        return f"{columns.label} holds half a character (a lone surrogate)"
    return None
