"""Text from data, files and settings made visible, and numbers as text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

_KEPT = {"\n", "\u200c", "\u200d"}
"""Line ends, which the page keeps, and joiners, without which some scripts and emoji cannot be written."""
SHORT = 24
"""Characters of a name in a picture."""


def is_visible(character: str) -> bool:
    """False of control characters, of those that turn the direction of text, and of others that nobody can see."""
    return character.isprintable() or character in _KEPT or unicodedata.category(character) == "Zs"


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces: characters that can be seen, and, with True, the code of one that cannot."""
    plain: list[str] = []
    for character in text.replace("\r\n", "\n"):
        if is_visible(character):
            plain.append(character)
            continue
        if plain:
            yield "".join(plain), False
            plain.clear()
        yield f"U+{ord(character):04X}", True
    if plain:
        yield "".join(plain), False


def label(text: str, limit: int = SHORT) -> str:
    """A name for a picture: on one line, cut, with everything that cannot be seen as its code."""
    line = "".join(f"[{piece}]" if is_code else piece for piece, is_code in pieces(" ".join(text.split())))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def labels(names: Sequence[str], limit: int = SHORT) -> list[str]:
    """Names for a picture, still distinct after they are cut."""
    short = [label(name, limit) for name in names]
    return [
        f"{label(name, limit - 4)} ({index + 1})" if short.count(cut) > 1 else cut
        for index, (name, cut) in enumerate(zip(names, short, strict=True))
    ]


def number(value: float | None, digits: int = 4) -> str:
    """A figure; an undefined one is a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def interval(low: float | None, high: float | None, digits: int = 4) -> str:
    """Both bounds of an interval."""
    return "–" if low is None or high is None else f"{low:.{digits}f} to {high:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """A difference, with a true minus."""
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def signed_interval(low: float | None, high: float | None, digits: int = 4) -> str:
    """Both bounds of a difference's interval."""
    return "–" if low is None or high is None else f"{signed(low, digits)} to {signed(high, digits)}"


def in_words(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
