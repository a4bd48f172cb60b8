"""Which columns hold text and label, and which rows cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rdrop_cli.core.data.labels import canonical, is_whole_number
from rdrop_cli.core.data.sniffing import is_valid_text
from rdrop_cli.errors import DataError
from rdrop_cli.wording import listed

if TYPE_CHECKING:
    from rdrop_cli.core.data.readers import Row

_TEXT_COLUMNS = ("text", "sentence", "review", "content", "comment", "question", "sentence1")
_LABEL_COLUMNS = ("label", "labels", "sentiment", "class", "category", "target", "coarse_label", "is_duplicate")
_PARTNERS = (
    ("text", "text_b"),
    ("text", "text_pair"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("premise", "hypothesis"),
)
"""Usual names of columns that form a pair of texts where a file has both."""
_LONGEST_NAME = 60
"""Characters of a column's name. A longer one is a text, and so the file has no header."""


@dataclass(frozen=True)
class ColumnNames:
    """The names of the columns that hold text, label and second text; None: not named, or there is none."""

    text: str | None = None
    label: str | None = None
    text_pair: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """The form that prepared data, runs, checkpoints and JSON output record."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: object) -> ColumnNames:
        """The inverse of `as_dict`; names no column if the record is something else."""
        if not isinstance(record, Mapping) or not all(isinstance(name, str | None) for name in record.values()):
            return cls()
        return cls(record.get("text"), record.get("label"), record.get("text_pair"))


@dataclass(frozen=True)
class Columns(ColumnNames):
    """The columns of a source that are in use. There is always a text column."""

    text: str


def resolve_columns(
    available: Iterable[str],
    where: str,
    named: ColumnNames,
    *,
    need_label: bool = True,
    need_pair: bool | None = None,
) -> Columns:
    """Choose the columns: the named ones, else those with a usual name in upper or lower case.

    If the text column is not named and the data also has its usual partner, the two form a pair.

    Args:
        need_label: False: do not look for a label column.
        need_pair: Whether the inputs are pairs; None: decided by the columns.

    Raises:
        DataError: a column is missing; the message lists the columns found.
    """
    text, label, text_pair = named.text, named.label, named.text_pair
    names = list(available)
    by_lower = {name.lower(): name for name in reversed(names)}

    def usual(candidates: Iterable[str]) -> str | None:
        for name in candidates:
            if name in names or name in by_lower:
                return name if name in names else by_lower[name]
        return None

    def missing(role: str, wanted: str | None, candidates: Sequence[str]) -> DataError:
        what = f"no column {wanted!r}" if wanted is not None else f"no {role} column ({', '.join(candidates)}, ...)"
        has = listed([repr(name[:40]) for name in names], 20)
        hint = f"Name it with --{role}-column."
        if wanted is None and any(is_whole_number(name) or len(name) > _LONGEST_NAME for name in names):
            hint = "Is line 1 data? The first line must name the columns, such as label,text."
        return DataError(f"{where}: {what}; found {has}", hint)

    for role, wanted in (("text", text), ("text-pair", text_pair), ("label", label)):
        if wanted is not None and wanted not in names and (role != "label" or need_label):
            raise missing(role, wanted, ())
    if text is None and text_pair is None and need_pair is not False:
        text, text_pair = _partners(usual)
    elif text is None and text_pair is not None:
        text = usual(first for first, second in _PARTNERS if second == text_pair.lower())
    text = text or usual(_TEXT_COLUMNS)
    if text is None:
        raise missing("text", None, _TEXT_COLUMNS[:3])
    if need_pair and text_pair is None:
        text_pair = usual(second for first, second in _PARTNERS if first == text.lower())
        if text_pair is None:
            raise missing("text-pair", None, [second for _, second in _PARTNERS[:3]])
    if need_label:
        label = label or usual(_LABEL_COLUMNS)
        if label is None:
            raise missing("label", None, _LABEL_COLUMNS[:3])
    return Columns(text, label if need_label else None, text_pair)


def _partners(usual: Callable[[Iterable[str]], str | None]) -> tuple[str | None, str | None]:
    """The two columns of a pair by their usual names; a column named `text` takes precedence over other pairs."""
    plain = usual(_TEXT_COLUMNS[:1])
    for first, second in _PARTNERS:
        text, pair = usual([first]), usual([second])
        if text is not None and pair is not None and plain in (None, text):
            return text, pair
    return None, None


def choose_columns(
    available: Mapping[str, object],
    where: str,
    named: ColumnNames,
    defaults: ColumnNames,
    *,
    need_label: bool = True,
) -> Columns:
    """The named columns, else the defaults if the data has them, else the usual ones.

    Args:
        defaults: The columns of the train split, or of a checkpoint's training data. If they form a pair, a pair is
            required here too; if not, none is formed.

    Raises:
        DataError: a column is missing.
    """

    def there(name: str | None) -> str | None:
        return name if name in available else None

    text, text_pair = named.text or there(defaults.text), named.text_pair or there(defaults.text_pair)
    need_pair = bool(defaults.text_pair or text_pair) if defaults.text else None
    if need_pair and text_pair is None and text is not None and not _has_partner(text, available):
        text_pair = defaults.text_pair  # so that the error names it as missing
    chosen = ColumnNames(text, named.label or there(defaults.label), text_pair)
    return resolve_columns(available, where, chosen, need_label=need_label, need_pair=need_pair)


def _has_partner(text: str, available: Iterable[str]) -> bool:
    lowered = {name.lower() for name in available}
    return any(first == text.lower() and second in lowered for first, second in _PARTNERS)


def in_words(columns: Mapping[str, str | None]) -> str:
    """The columns in use, as text for display."""
    roles = (("text", "text"), ("text_pair", "second text"), ("label", "label"))
    return ", ".join(f"{word} {columns[role]!r}" for role, word in roles if columns.get(role))


def check_row(
    rows: Iterable[Row], choose: Callable[[Row], Columns]
) -> Iterator[tuple[Row, Columns | None, str | None]]:
    """Each row with the columns, chosen from the first row that has any, and why it cannot be used (None: it can)."""
    columns: Columns | None = None
    for row in rows:
        if columns is None and row.values:
            columns = choose(row)
        yield row, columns, row.problem or (_problem_of(row, columns) if columns else "no columns")


def _problem_of(row: Row, columns: Columns) -> str | None:
    """Why a row cannot be used: its text is missing, empty or not a string, or its label is missing. None: it can."""
    for column in filter(None, (columns.text, columns.text_pair)):
        value = row.values.get(column)
        if value is None:
            return f"{column} is missing"
        if not isinstance(value, str):
            return f"{column} is {type(value).__name__}, not text"
        if not value.strip():
            return f"{column} is empty"
        if not is_valid_text(value):
            return f"{column} contains an invalid character (a lone surrogate)"
    if columns.label is None:
        return None
    label = row.values.get(columns.label)
    if not isinstance(label, str | int | float | Decimal | None):
        return f"{columns.label} is {type(label).__name__}, not a name or a number"
    if canonical(label) is None:
        return f"{columns.label} is missing"
    if isinstance(label, str) and not is_valid_text(label):
        return f"{columns.label} contains an invalid character (a lone surrogate)"
    return None
