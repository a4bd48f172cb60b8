"""How many of the examples that a checkpoint is evaluated on it has seen before."""

from __future__ import annotations

from dataclasses import dataclass

from rdrop_cli.core import checkpoints, prepared
from rdrop_cli.core.checkpoints import Checkpoint
from rdrop_cli.core.examples import Examples
from rdrop_cli.core.prepared import Split
from rdrop_cli.errors import CheckpointError


@dataclass(frozen=True)
class Seen:
    """Examples whose texts a checkpoint was trained on, and whose texts its best epoch was chosen on."""

    train: int
    validation: int


def seen(checkpoint: Checkpoint, examples: Examples) -> Seen | None:
    """Count what a checkpoint has seen; None where its training data is not at hand."""
    if checkpoint.run is None:
        return None
    try:
        data = prepared.of_record(checkpoints.read_record(checkpoint.run))
    except CheckpointError:
        return None
    if data is None:
        return None
    texts = list(zip(examples.texts, examples.pairs or [""] * len(examples.texts), strict=True))
    known = {name: _texts(data.splits[name]) for name in ("train", "validation") if name in data.splits}
    counts = {name: sum(text in split for text in texts) for name, split in known.items()}
    return Seen(counts.get("train", 0), counts.get("validation", 0))


def _texts(split: Split) -> set[tuple[str, str]]:
    return set(zip(split.texts, split.pairs or [""] * len(split), strict=True))
