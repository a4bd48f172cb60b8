"""Diagnose during training whether the KL term has too little or too much weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import TrainerCallback

from rdrop_cli.core.model.loading import dropout_keys

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.schema import Config

NEGLIGIBLE, DOMINANT = 0.005, 0.5
"""Shares of the loss below and above which alpha * KL is worth a warning."""
_STUCK, _SOLVED = 0.03, 0.9
"""Shares of the way from the chance cross-entropy to the perfect one. Below the first, a model has learned nothing;
above the second, the loss is so small that its parts' shares mean little."""
_RANKS_WELL = 0.8
"""ROC-AUC on validation from which on a model has learned something, whatever its mean loss in the epoch was."""


@dataclass(frozen=True)
class Bounds:
    """The cross-entropy, in nats, of a model that knows every label, and of one that knows only the class frequencies.

    With class weights, these are the frequencies times the weights. With label smoothing the first is above 0, and with
    very unequal classes the second is close to it.
    """

    perfect: float
    chance: float


def cross_entropy_bounds(
    labels: ArrayLike, classes: int, config: Config, weights: Sequence[float] | None = None
) -> Bounds:
    """The bounds for a training set; both are doubled for `ce_reduction: sum`.

    Args:
        labels: (examples,) class ids.
        weights: (classes,) weight of each class, whose mean over the examples is 1; None: 1 for every class.
    """
    counts = np.bincount(np.asarray(labels), minlength=classes) * np.asarray(1.0 if weights is None else weights)
    smoothing, both = config.train.label_smoothing, 2 if config.rdrop.ce_reduction == "sum" else 1
    one = np.full(classes, smoothing / classes)
    one[0] += 1 - smoothing
    frequencies = (1 - smoothing) * counts / counts.sum() + smoothing / classes
    return Bounds(both * _entropy(one), both * _entropy(frequencies))


def _entropy(p: NDArray[np.float64]) -> float:
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def diagnose(
    history: Iterable[Mapping[str, Any]], *, config: Config, bounds: Bounds, dropout_key: str
) -> tuple[str, str] | None:
    """Find out what is wrong in the second half of the newest epoch, and what to change.

    The first of several epochs is not judged, because KL is close to 0 until the model has learned something.

    Args:
        history: A training's log history so far.
        config: The run's configuration.
        bounds: Bounds of the cross-entropy.
        dropout_key: The key of the model's configuration that sets its dropout.

    Returns:
        A name for the problem and a sentence about it; None: no problem was found.
    """
    history = list(history)
    rows = [row for row in history if "kl_share" in row]
    if not rows or not config.rdrop.alpha:
        return None
    epoch = rows[-1]["epoch"]
    if epoch < max(min(2, config.train.epochs), config.rdrop.alpha_warmup * config.train.epochs):
        return None
    late = [row for row in rows if row["epoch"] > np.ceil(epoch) - 0.5]
    share, ce = (float(np.mean([row[name] for row in late])) for name in ("kl_share", "ce"))
    alpha = config.rdrop.alpha
    learned = (bounds.chance - ce) / (bounds.chance - bounds.perfect) if bounds.chance > bounds.perfect else 1.0
    if learned < _STUCK:
        roc_auc = next((row["eval_roc_auc"] for row in reversed(history) if "eval_roc_auc" in row), None)
        if roc_auc is not None and roc_auc >= _RANKS_WELL:
            return None
        cause = (
            f"With KL at {share:.1%} of the loss, alpha is not the cause: train longer (--epochs), or change --lr"
            if share < NEGLIGIBLE
            else f"KL is {share:.1%} of the loss, and a large alpha can prevent learning: lower --alpha (now"
            f" {alpha:g}), train longer (--epochs), or change --lr"
        )
        return "stuck", (
            f"The model has not learned yet: its cross-entropy in training is {ce:.3f} nats, and who knows only the"
            f" class frequencies has {bounds.chance:.3f}. {cause}"
        )
    if share < NEGLIGIBLE:
        method, remedy = (
            ("R3F", f"raise rdrop.noise (now {config.rdrop.noise:g})")
            if config.rdrop.noise
            else (
                "R-Drop",
                f"raise --alpha (now {alpha:g}), or increase dropout with --set model.config.{dropout_key}=0.2",
            )
        )
        shown = f"only {share:.2%}" if share >= 0.0001 else "less than 0.01%"
        return "negligible", f"KL is {shown} of the loss, so {method} has almost no effect: {remedy}"
    if share > DOMINANT and learned < _SOLVED:
        return "dominant", (f"KL is {share:.0%} of the loss and outweighs the labels: lower --alpha (now {alpha:g})")
    return None


class Diagnose(TrainerCallback):
    """Reports each problem once, at the end of an epoch."""

    def __init__(self, notice: Callable[[str], None], **known: Any) -> None:
        self.notice = notice
        self.known = known
        self._said: set[str] = set()

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        finding = diagnose(state.log_history, **self.known)
        if finding is not None and finding[0] not in self._said:
            self._said.add(finding[0])
            self.notice(finding[1])


def make_diagnosis(
    config: Config,
    data: Prepared,
    class_weights: Mapping[str, float] | None,
    model_config: Any,
    notice: Callable[[str], None],
) -> Diagnose:
    """The callback for a training.

    Args:
        class_weights: The weight of each class in the cross-entropy; None: the same for all.
        model_config: The model's own configuration.
        notice: Called with a sentence about each problem.
    """
    weights = list(class_weights.values()) if class_weights else None
    bounds = cross_entropy_bounds(data.splits["train"].labels, len(data.labels), config, weights)
    keys = dropout_keys(model_config)
    key = "hidden_dropout_prob" if "hidden_dropout_prob" in keys else next(iter(keys), "dropout")
    return Diagnose(notice, config=config, bounds=bounds, dropout_key=key)
