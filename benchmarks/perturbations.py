"""Changes to a sentence that leave its label alone, the same ones for every model: typing errors, case, negation."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_LETTERS = re.compile(r"[A-Za-z]{4,}")
_NOT = re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|would|could|should) not\b", re.IGNORECASE)
_CONTRACTED = re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|would|could|should) ?n['’]t\b", re.IGNORECASE)
_NEIGHBOURS = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuioopsdfghjkllxcvbnmm", strict=True))


def typos(text: str, draw: random.Random, share: float = 0.15) -> str:
    """A typing error in this share of the words of four letters and more: one swapped, lost, doubled or mistyped."""

    def spoil(match: re.Match[str]) -> str:
        word = match[0]
        if draw.random() >= share:
            return word
        at = draw.randrange(1, len(word) - 1)
        kind = draw.randrange(4)
        if kind == 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        if kind == 1:
            return word[:at] + word[at + 1 :]
        if kind == 2:
            return word[:at] + word[at] + word[at:]
        return word[:at] + _NEIGHBOURS[word[at].lower()] + word[at + 1 :]

    return _LETTERS.sub(spoil, text)


def casing(text: str, draw: random.Random) -> str:
    """In capitals, or with a capital at the start of each word."""
    return text.upper() if draw.random() < 0.5 else text.title()


def negation(text: str, draw: random.Random) -> str:
    """Every `not` after an auxiliary verb contracted, and every contraction written out."""
    if _CONTRACTED.search(text):
        return _CONTRACTED.sub(r"\1 not", text)
    return _NOT.sub(lambda match: f"{match[1]}n't", text)


PERTURBATIONS: dict[str, Callable[[str, random.Random], str]] = {
    "typing errors": typos,
    "case": casing,
    "negation": negation,
}


def perturbed(texts: list[str], kind: str, seed: int) -> list[str]:
    """Every text, changed by one of `PERTURBATIONS`."""
    return [PERTURBATIONS[kind](text, random.Random(f"{seed} {index} {kind}")) for index, text in enumerate(texts)]
