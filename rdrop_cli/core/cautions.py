"""What whoever reads a comparison must know besides its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rdrop_cli.core.arms import Arm, shown_settings
from rdrop_cli.core.cells import Outcome
from rdrop_cli.core.resampling import weakness

_MAKE_BATCHES = ("train.batch_size", "train.group_by_length", "model.max_length", "model.name", "model.revision")
"""Keys on which the order of examples, or the head that training begins with, depends."""


def cautions(outcomes: Sequence[Outcome], arms: Sequence[Arm], looks: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence or two each; none where all is well.

    Args:
        outcomes: Of every arm with every seed.
        looks: Which arms and seeds had been weighed when, this time last.
    """
    found = [
        _of_looks(looks),
        _of_examples(outcomes),
        *(_of_batches(arm, arms) for arm in arms[1:]),
        _of_environments(outcomes),
    ]
    return [caution for caution in found if caution]


def _of_looks(looks: Sequence[Mapping[str, Any]]) -> str:
    """Seeds that are added, or left out, because of what was seen find differences that are not there."""
    *earlier, now = looks
    numbers = {
        len(look["seeds"])
        for look in earlier
        if len(set(look["arms"]) & set(now["arms"])) > 1
        and set(look["seeds"]) != set(now["seeds"])
        and set(look["seeds"]) & set(now["seeds"])
    }
    if not numbers:
        return ""
    return (
        f"Arms of this comparison were looked at before with other seeds, some of them the same"
        f" ({', '.join(map(str, sorted(numbers)))} in number): if these {len(now['seeds'])} were chosen after that,"
        " p-values are too small. To be sure, run it once with seeds of its own (--seed, --out)"
    )


def _of_examples(outcomes: Sequence[Outcome]) -> str:
    weak = weakness([found.test for found in outcomes])
    return f"The intervals over examples are too narrow: {weak}" if weak else ""


def _of_batches(arm: Arm, arms: Sequence[Arm]) -> str:
    own, base = (shown_settings(each, arms) for each in (arm, arms[0]))
    keys = [key for key in _MAKE_BATCHES if own.get(key) != base.get(key)]
    if not keys:
        return ""
    return f"{arm.name} and {arms[0].name} share their seeds, but not their batches or heads: {', '.join(keys)} differs"


def _of_environments(outcomes: Sequence[Outcome]) -> str:
    environments = sorted({found.environment for found in outcomes})
    if len(environments) == 1:
        return ""
    return f"Runs were trained on different machines, precisions or versions: {'; '.join(environments)}"
