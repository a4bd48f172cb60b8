"""Class labels: users see names, models use ids 0..n-1; the mapping is saved with data and model."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rdrop_cli.errors import DataError

MAX_CLASSES = 1000
"""With more distinct labels than this, the column is assumed not to hold classes."""
MANY = 20
"""The same holds for more than this, if there are more distinct labels than half the rows."""


def canonical(value: Any) -> str | None:
    """A raw label as text: 1, 1.0 and "1" are the same label; None, "" and NaN mean that there is none."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else str(value)
    text = str(value).strip()
    if text.endswith(".0") and is_whole_number(text[:-2]):
        text = text[:-2]
    return text or None


def _is_fraction(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and not value.is_integer()


def _is_number(text: str) -> bool:
    return is_whole_number(text) or _is_fraction(text)


def _by_number(text: str) -> tuple[int, str]:
    return int(text), text  # 7 and 07 are two labels; the text makes their order deterministic


def is_whole_number(text: str) -> bool:
    """True for a canonical label that is a whole number and therefore may be an id."""
    return len(text) < 19 and text.isascii() and text.removeprefix("-").isdigit()


@dataclass(frozen=True)
class LabelMap:
    """The names of the classes in the order of their ids."""

    names: tuple[str, ...]

    @classmethod
    def from_values(cls, values: Sequence[str]) -> LabelMap:
        """The map for the canonical labels of data: in numeric order if all are numbers, else alphabetical.

        Raises:
            DataError: there are fewer than two classes, or too many to be classes, or the labels are scores.
        """
        distinct = set(values)
        if {label.lower() for label in distinct} <= {"true", "false"}:
            # JSON's true and Python's True are one label; the more frequent spelling is used.
            spelled = Counter(values)
            distinct = {
                max((x for x in distinct if x.lower() == low), key=lambda x: (spelled[x], x))
                for low in {label.lower() for label in distinct}
            }
        scores = [label for label in values if _is_fraction(label)]
        if scores and all(map(_is_number, distinct)):
            raise DataError(
                f"the labels are scores such as {scores[0]}, not classes",
                "Regression is not supported. If each number is a class, list them: --set data.label_names=[...].",
            )
        label_map = cls(tuple(sorted(distinct, key=_by_number if all(map(is_whole_number, distinct)) else None)))
        if len(label_map.names) < 2:
            only = f"only {label_map.names[0]!r}" if label_map.names else "none"
            raise DataError(f"a classifier needs at least two classes, found {only}", "Check the label column.")
        if len(distinct) > MAX_CLASSES or (len(distinct) > MANY and 2 * len(distinct) > len(values)):
            raise DataError(
                f"found {len(distinct):,} distinct labels in {len(values):,} rows, too many for classes",
                "Is this the right label column? Numbers on a scale (regression) are not supported.",
            )
        return label_map

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    def id_of(self, value: Any) -> int | None:
        """The id for a class name or an id; None if it is neither.

        If a class name is itself a number, numbers are only names: with classes 1 and 2, 0 is unknown, because a single
        row does not show whether the data counts from 0 or from 1.
        """
        text = canonical(value)
        if text is None:
            return None
        if text in self._ids:
            return self._ids[text]
        if is_whole_number(text) and 0 <= int(text) < len(self.names) and not any(map(is_whole_number, self.names)):
            return int(text)
        return None

    def explain_unknown(self, value: Any) -> str:
        """Why `id_of` returned None, for a message."""
        text = canonical(value)
        if text is None:
            return "the label is missing"
        near = difflib.get_close_matches(text, self.names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        known = ", ".join(self.names[:10]) + (", ..." if len(self.names) > 10 else "")
        return f"label {text!r} is not one of {known}{hint}"

    def __len__(self) -> int:
        return len(self.names)
