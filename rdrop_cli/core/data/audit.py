"""Properties of data to check before training: class balance, repeats, contradictory labels, truncation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rdrop_cli.wording import listed

if TYPE_CHECKING:
    from rdrop_cli.core.data.labels import LabelMap
    from rdrop_cli.core.data.tokens import Tokens

_RARE = 0.4
"""A class is rare below this part of an equal share."""
_NAMED = 5
"""Rare classes that a sentence names."""
Key = tuple[str, str | None]


def repeat_key(text: str, pair: str | None, rule: Literal["normalized", "exact"]) -> Key:
    """A key that is equal for two texts (or pairs) that count as repeats, which are kept in one split.

    Args:
        rule: `normalized` ignores case and differences in white space; `exact` does not.
    """
    if rule == "exact":
        return text, pair
    return _normalized(text), None if pair is None else _normalized(pair)


def _normalized(text: str) -> str:
    return " ".join(text.casefold().split())


def repeats(keys: Sequence[Key]) -> int:
    """The number of rows whose text (or pair) already occurred in an earlier row."""
    return len(keys) - len(set(keys))


def conflicts(keys: Sequence[Key], labels: Sequence[int]) -> int:
    """The number of distinct texts (or pairs) that occur with more than one label."""
    seen: dict[Key, set[int]] = {}
    for key, label in zip(keys, labels, strict=True):
        seen.setdefault(key, set()).add(label)
    return sum(len(distinct) > 1 for distinct in seen.values())


def drop_crossing(splits: Mapping[str, Sequence[int]], keys: Sequence[Key]) -> tuple[dict[str, list[int]], int]:
    """Remove from train the texts of validation and test, and from validation those of test.

    The test split is never changed, so that results on an official one stay comparable.

    Args:
        splits: Row indices by split name.
        keys: As `repeat_key` gives them, one for each row.

    Returns:
        The splits without the crossing rows, and how many rows were removed.
    """
    held: set[Key] = set()
    kept: dict[str, list[int]] = {}
    for split in ("test", "validation", "train"):
        if split in splits:
            kept[split] = [index for index in splits[split] if keys[index] not in held]
            held.update(keys[index] for index in splits[split])
    removed = sum(len(indices) for indices in splits.values()) - sum(len(indices) for indices in kept.values())
    return {split: kept[split] for split in ("train", "validation", "test") if kept.get(split)}, removed


def class_balance(labels: Sequence[int], names: LabelMap) -> dict[str, int]:
    """The number of examples of each class, by name, in the order of the ids."""
    counts = Counter(int(label) for label in labels)
    return {name: counts[index] for index, name in enumerate(names.names)}


def rare_classes(counts: Mapping[str, int]) -> dict[str, float]:
    """The share of each class that has less than 40 % of an equal share, the rarest first: below 20 % of two classes.

    Args:
        counts: Examples of each class.
    """
    examples = sum(counts.values())
    shares = {name: count / examples for name, count in counts.items() if count < _RARE * examples / len(counts)}
    return dict(sorted(shares.items(), key=lambda item: item[1]))


def rare_class_advice(counts: Mapping[str, int]) -> str | None:
    """What to try for classes that are rare among the training examples, in one line; None: no class is rare.

    Args:
        counts: Training examples of each class.
    """
    rare = rare_classes(counts)
    if not rare:
        return None
    shown = listed([f"'{name}' {share:.1%}" for name, share in rare.items()], _NAMED)
    ways = "--set train.class_weights=balanced"
    if len(counts) == 2:
        ways += ", or a threshold chosen after training with rdrop evaluate RUN --choose-threshold f1"
    return f"Rare in train: {shown} of the examples. If finding such texts matters most, try {ways}"


def token_statistics(tokens: Tokens, unknown_id: int | None) -> dict[str, Any]:
    """Lengths before truncation, how much truncation removes, and how much the tokenizer does not know.

    Args:
        unknown_id: What stands for an unknown token; None: the tokenizer knows everything.

    Returns:
        p50, p95, max (tokens); truncated (share of texts that are cut); lost (share of all tokens that are cut off);
        unknown (share of the others that are unknown).
    """
    full = tokens.full_lengths.astype(np.int64)
    if not len(full):
        return {"p50": 0, "p95": 0, "max": 0, "truncated": 0.0, "lost": 0.0, "unknown": 0.0}
    lost = int(full.sum() - tokens.lengths.sum())
    return {
        "p50": int(np.percentile(full, 50)),
        "p95": int(np.percentile(full, 95)),
        "max": int(full.max()),
        "truncated": float((full > tokens.lengths).mean()),
        "lost": lost / int(full.sum()),
        "unknown": float((tokens.ids == unknown_id).mean()) if unknown_id is not None and len(tokens.ids) else 0.0,
    }
