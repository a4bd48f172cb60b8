"""Class labels: names on the outside, ids 0..n-1 inside, one map saved with data and model."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rdrop_cli.errors import DataError

MAX_CLASSES = 1000
"""More distinct labels than this are taken for a column that holds no classes."""
MANY = 20
"""So are more than this, when half of the rows have a label of their own."""


def canonical(value: Any) -> str | None:
    """A raw label as text: 1, 1.0 and "1" are the same label; None, "" and NaN are no label."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else str(value)
    text = str(value).strip()
    if text.endswith(".0") and _is_whole(text[:-2]):
        text = text[:-2]
    return text or None


def _by_number(text: str) -> tuple[int, str]:
    return int(text), text  # 7 and 07 are two labels, in an order that is always the same


def _is_whole(text: str) -> bool:
    return len(text) < 19 and text.isascii() and text.removeprefix("-").isdigit()


@dataclass(frozen=True)
class LabelMap:
    """The names of the classes in the order of their ids."""

    names: tuple[str, ...]

    @classmethod
    def from_values(cls, values: Sequence[str]) -> LabelMap:
        """The map for canonical labels found in data: numbers in numeric order, anything else alphabetically.

        Raises:
            DataError: fewer than two classes, or so many that the column can hardly be one of labels.
        """
        found = set(values)
        label_map = cls(tuple(sorted(found, key=_by_number if all(map(_is_whole, found)) else None)))
        if len(label_map.names) < 2:
            only = f"only {label_map.names[0]!r}" if label_map.names else "none"
            raise DataError(f"a classifier needs at least two classes, found {only}", "Check the label column.")
        if len(found) > MAX_CLASSES or (len(found) > MANY and 2 * len(found) > len(values)):
            raise DataError(
                f"found {len(found):,} distinct labels in {len(values):,} rows",
                "Is this the right label column? Numbers on a scale (regression) are not supported.",
            )
        return label_map

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    def id_of(self, value: Any) -> int | None:
        """The id of a name or of an id. None when it is neither.

        Where a class's name is itself a number, numbers are names only: with classes 1 and 2, a 0 is unknown, since
        data numbered from 0 and from 1 cannot be told apart row by row.
        """
        text = canonical(value)
        if text is None:
            return None
        if text in self._ids:
            return self._ids[text]
        if _is_whole(text) and 0 <= int(text) < len(self.names) and not any(map(_is_whole, self.names)):
            return int(text)
        return None

    def explain_unknown(self, value: Any) -> str:
        """Why `id_of` gave None, for a message."""
        text = canonical(value)
        if text is None:
            return "the label is missing"
        near = difflib.get_close_matches(text, self.names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        known = ", ".join(self.names[:10]) + (", ..." if len(self.names) > 10 else "")
        return f"label {text!r} is not one of {known}{hint}"

    def __len__(self) -> int:
        return len(self.names)
