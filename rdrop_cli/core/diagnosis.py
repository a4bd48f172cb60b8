"""Whether the KL term does its work: not next to nothing, and not everything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from transformers import TrainerCallback

from rdrop_cli.schema import Config

NEGLIGIBLE, DOMINANT = 0.005, 0.5
"""Shares of the loss below and above which alpha * KL is worth a warning."""
_STUCK = 0.97
"""A cross-entropy above this share of what knowing the classes' frequencies alone would give has learned nothing."""

_SOLVED = 0.1
"""Below this share of it the loss is next to nothing, and so are the shares of it."""


def chance_cross_entropy(labels: ArrayLike, classes: int, config: Config) -> float:
    """The cross-entropy of a model that says the classes' frequencies of every example, in nats.

    That is the entropy of the smoothed frequencies; twice that for `ce_reduction: sum`.
    """
    frequencies = np.bincount(np.asarray(labels), minlength=classes) / len(np.asarray(labels))
    smoothing = config.train.label_smoothing
    target = (1 - smoothing) * frequencies + smoothing / classes
    target = target[target > 0]
    return float(-(target * np.log(target)).sum()) * (2 if config.rdrop.ce_reduction == "sum" else 1)


def diagnose(
    history: Iterable[Mapping[str, Any]], *, config: Config, chance: float, dropout_key: str
) -> tuple[str, str] | None:
    """What is wrong with the latter half of the newest epoch, and what to change.

    The first of several epochs is not judged: KL is next to nothing until the model has learned something.

    Args:
        history: A training's log history so far.
        chance: As `chance_cross_entropy`.
        dropout_key: The key of the model's configuration that sets its dropout.

    Returns:
        A name for the finding, and a sentence.
    """
    rows = [row for row in history if "kl_share" in row]
    if not rows:
        return None
    epoch = rows[-1]["epoch"]
    if epoch < min(2, config.train.epochs):
        return None
    late = [row for row in rows if row["epoch"] > np.ceil(epoch) - 0.5]
    share, ce = (float(np.mean([row[name] for row in late])) for name in ("kl_share", "ce"))
    alpha = config.rdrop.alpha
    if ce > _STUCK * chance:
        return "stuck", (
            f"The cross-entropy is still {ce:.3f} nats, what the classes' frequencies alone would give, and KL is"
            f" {share:.0%} of the loss. A large alpha holds a model back: lower --alpha (now {alpha:g}), or change --lr"
        )
    if share < NEGLIGIBLE:
        return "negligible", (
            f"KL is {share:.2%} of the loss: R-Drop does next to nothing. Raise --alpha (now {alpha:g}), or the"
            f" dropout: --set model.config.{dropout_key}=0.2"
        )
    if share > DOMINANT and ce > _SOLVED * chance:
        return "dominant", (f"KL is {share:.0%} of the loss and outweighs the labels: lower --alpha (now {alpha:g})")
    return None


class Diagnose(TrainerCallback):
    """Says once of each finding what is wrong, at the end of an epoch."""

    def __init__(self, notice: Callable[[str], None], **known: Any) -> None:
        self.notice = notice
        self.known = known
        self._said: set[str] = set()

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        found = diagnose(state.log_history, **self.known)
        if found is not None and found[0] not in self._said:
            self._said.add(found[0])
            self.notice(found[1])
