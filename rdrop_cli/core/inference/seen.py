"""Count how many of the evaluated examples a checkpoint has seen in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rdrop_cli.core.data.audit import Key, repeat_key
from rdrop_cli.core.data.dataset import SETTINGS_BEFORE, load_recorded_data
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    from rdrop_cli.core.inference.examples import Examples
    from rdrop_cli.core.runs.checkpoint import Checkpoint


@dataclass(frozen=True)
class SeenCounts:
    """How many of the examples are in a checkpoint's train and validation splits."""

    train: int
    validation: int


def count_seen(checkpoint: Checkpoint, examples: Examples) -> SeenCounts | None:
    """Count the examples that a checkpoint has seen; None if its training data is not available."""
    if checkpoint.run is None:
        return None
    try:
        data = load_recorded_data(read_record(checkpoint.run))
    except CheckpointError:
        return None
    if data is None:
        return None
    rule = {**SETTINGS_BEFORE, **data.source.get("settings", {})}["repeats"]
    texts = _keys(examples.texts, examples.pairs, rule)
    known = {
        name: set(_keys(data.splits[name].texts, data.splits[name].pairs, rule))
        for name in ("train", "validation")
        if name in data.splits
    }
    counts = {name: sum(text in split for text in texts) for name, split in known.items()}
    return SeenCounts(counts.get("train", 0), counts.get("validation", 0))


def _keys(texts: Sequence[str], pairs: Sequence[str] | None, rule: Literal["normalized", "exact"]) -> list[Key]:
    return [repeat_key(text, pair, rule) for text, pair in zip(texts, pairs or [""] * len(texts), strict=True)]
