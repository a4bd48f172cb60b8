"""The weight of each class in the cross-entropy, from the configuration and the classes of the training examples."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Literal

from rdrop_cli.errors import ConfigError
from rdrop_cli.wording import listed

_NAMED = 10
"""Classes that a message names."""


def class_weights(
    chosen: Literal["none", "balanced"] | Mapping[str, float], counts: Mapping[str, int]
) -> dict[str, float] | None:
    """The weights, scaled so that their mean over the training examples is 1; None: every example counts the same.

    With a mean of 1 the cross-entropy keeps its scale, so that the learning rate and alpha keep their meaning. Before
    scaling, `balanced` gives a class of n examples the weight examples / (classes * n), so that every class has the
    same share of the loss.

    Args:
        chosen: As in `train.class_weights`.
        counts: Training examples of each class, in the order of the ids.

    Returns:
        The weight of each class, in the same order. A class without examples has one too, which nothing uses.

    Raises:
        ConfigError: a weight is for a class that the data does not have, or a class has no weight.
    """
    if chosen == "none":
        return None
    if isinstance(chosen, str):
        raw = {name: 1 / max(count, 1) for name, count in counts.items()}
    else:
        _check_names(chosen, counts)
        raw = {name: chosen[name] for name in counts}
    largest = max(raw.values())  # dividing by it first keeps the sum finite, whatever the weights
    shares = {name: weight / largest for name, weight in raw.items()}
    mean = sum(shares[name] * count for name, count in counts.items()) / sum(counts.values())
    return {name: share / mean for name, share in shares.items()}


def _check_names(chosen: Mapping[str, float], counts: Mapping[str, int]) -> None:
    classes = listed([repr(name) for name in counts], _NAMED)
    unknown = [name for name in chosen if name not in counts]
    if unknown:
        near = difflib.get_close_matches(unknown[0], counts, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "Use the names of the classes."
        raise ConfigError(f"train.class_weights: no class {unknown[0]!r}; the classes are {classes}", hint)
    missing = [name for name in counts if name not in chosen]
    if missing:
        raise ConfigError(
            f"train.class_weights: no weight for {listed([repr(name) for name in missing], _NAMED)}",
            "Give every class a weight; 1 is a neutral one.",
        )
