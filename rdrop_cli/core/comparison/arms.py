"""The arms of a comparison: each changes some settings of a common configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rdrop_cli.config import flatten, override, parse_assignment
from rdrop_cli.errors import ConfigError
from rdrop_cli.schema import Config

Budget = Literal["steps", "compute"]
CLASSIC = ("plain", "smoothing", "rdrop", "rdrop+smoothing")
RIVALS = ("dropout", "two-pass", "ema", "r3f")
BUILT_IN = (*CLASSIC, *RIVALS)
_EMA, _NOISE, _R3F_ALPHA = 0.999, 1e-5, 2.0
"""The decay of the arm `ema`; the noise of R3F's paper, and its weight of 1 for the sum of both divergences."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_COMMA = re.compile(r",(?![^{\[]*[}\]])")
"""A comma between two settings, not one within the brackets of a value."""
_SHARED = ("data.", "hub.", "train.seed", "train.metric")
"""Keys in which arms must not differ: all arms use the same examples and choose the best epoch in the same way."""
_OF_RDROP = ("rdrop.alpha", "train.label_smoothing")
"""Keys that are shown for every arm."""
_OF_A_RECIPE = ("model.name", "model.max_length", "train.epochs", "train.batch_size", "train.lr")
_LONGER = re.compile(r"-\d+(\.\d+)?x$")
"""The end of an arm's name that has more epochs than in the configuration."""


@dataclass(frozen=True)
class Arm:
    """One way of training.

    Attributes:
        name: Also the name of its folder.
        config: The complete configuration, with the comparison's first seed.
    """

    name: str
    config: Config

    @property
    def passes(self) -> int:
        """Forward and backward passes over each example in an epoch."""
        return self.config.rdrop.passes_per_example


def make_arms(config: Config, names: Sequence[str], own: Sequence[str], budget: Budget) -> list[Arm]:
    """The arms for a command line; the first is the baseline.

    Args:
        config: The common configuration; the built-in arms use its alpha and label smoothing.
        names: Names from `BUILT_IN`. Those with R-Drop have the configuration's `rdrop` group.
        own: The user's arms, as NAME:KEY=VALUE,...; all other keys are as in `config`, including alpha and label
            smoothing.
        budget: `steps` gives every arm the same number of optimizer steps; `compute` the same number of passes, by more
            epochs for arms with fewer passes, to whose names it appends the factor, as in `-2x`.

    Raises:
        ConfigError: a name is unknown or repeated, a setting is invalid, there are fewer than two arms, or an arm would
            need part of an epoch.
    """
    for key in ("noise", "two_passes"):
        if names and getattr(config.rdrop, key):
            raise ConfigError(
                f"rdrop.{key}: the built-in arms have their own", f"Give it to an arm, as in --arm NAME:rdrop.{key}=..."
            )
    arms = [_built_in(name, config) for name in names] + [_own(text, config) for text in own]
    lowered = [arm.name.lower() for arm in arms]
    repeated = next((arm.name for arm in arms if lowered.count(arm.name.lower()) > 1), None)
    if repeated is not None:
        raise ConfigError(f"two arms are named {repeated}", "Give each arm a different name (ignoring case).")
    if len(arms) < 2:
        raise ConfigError("a comparison needs at least two arms", f"Built in: {', '.join(BUILT_IN)}.")
    if budget == "steps":
        return arms
    most = max(arm.passes for arm in arms)
    if all(arm.passes == most for arm in arms):
        raise ConfigError(
            "--budget compute has no effect, because all arms make the same number of passes",
            "Omit it, or add an arm with another number of passes.",
        )
    return [arm if arm.passes == most else _longer(arm, most) for arm in arms]


def _built_in(name: str, config: Config) -> Arm:
    if name not in BUILT_IN:
        raise ConfigError(
            f"--arms {name}: no such arm", f"Built in: {', '.join(BUILT_IN)}; your own: --arm {name}:KEY=VALUE."
        )
    alpha, smoothing, dropout = config.rdrop.alpha, config.train.label_smoothing, config.rdrop.dropout
    if "rdrop" in name and not alpha:
        raise ConfigError(f"arm {name}: rdrop.alpha is 0, so it would be plain fine-tuning", "Give --alpha.")
    if "smoothing" in name and not smoothing:
        raise ConfigError(f"arm {name}: train.label_smoothing is 0, so it would have no effect", "Set it above 0.")
    if name == "dropout" and dropout is None:
        raise ConfigError(
            "arm dropout: rdrop.dropout is null, so it would be plain fine-tuning",
            "Set it, as in --set rdrop.dropout=0.2.",
        )
    has_dropout = "rdrop" in name or name in ("dropout", "two-pass")
    changed: dict[str, Any] = {
        "rdrop.alpha": alpha if "rdrop" in name else 0.0,
        "rdrop.two_passes": name == "two-pass",
        "rdrop.noise": 0.0,
        "rdrop.dropout": dropout if has_dropout else None,
        "train.label_smoothing": smoothing if "smoothing" in name else 0.0,
    }
    if name == "ema":
        if config.train.ema:
            raise ConfigError(
                "arm ema: train.ema is set, so every arm has averaged weights", "Omit the arm or the key."
            )
        changed["train.ema"] = _EMA
    if name == "r3f":
        changed |= {
            "rdrop.alpha": _R3F_ALPHA, "rdrop.noise": _NOISE, "rdrop.alpha_warmup": 0.0, "rdrop.ce_reduction": "mean",
        }  # fmt: skip
    return Arm(name, override(config, changed, f"arm {name}"))


def _own(text: str, config: Config) -> Arm:
    name, colon, rest = text.partition(":")
    name = name.strip()
    if not colon or not _NAME.fullmatch(name):
        raise ConfigError(
            f"--arm {text}: expected NAME:KEY=VALUE,... with a name of letters, digits and . _ + -",
            "For example --arm strong:rdrop.alpha=10.",
        )
    if name.lower() in CLASSIC or name.lower().startswith("results"):
        raise ConfigError(f"--arm {name}: this name is reserved", "Choose another name.")
    if ending := _LONGER.search(name.lower(), pos=1):
        raise ConfigError(
            f"--arm {name}: names that end in {ending[0]} are reserved for --budget compute", "Choose another name."
        )
    changed: dict[str, Any] = {}
    for part in _COMMA.split(rest) if rest.strip() else []:
        key, value = parse_assignment(part, f"--arm {name}:")
        if key in Config.model_fields:
            raise ConfigError(f"--arm {name}: {key} is a group of keys", f"Name them one by one, as {key}.KEY=VALUE.")
        if f"{key}.".startswith(_SHARED):
            raise ConfigError(f"--arm {name}: {key} must be the same for all arms", "Use --set for it.")
        if key in changed:
            raise ConfigError(f"--arm {name}: {key} appears twice")
        changed[key] = value
    return Arm(name, override(config, changed, f"--arm {name}"))


def without_factor(name: str) -> str:
    """An arm's name without the factor that `--budget compute` appends to it."""
    return _LONGER.sub("", name)


def _longer(arm: Arm, passes: int) -> Arm:
    """The arm with as many passes as others, by more epochs."""
    factor, epochs = passes / arm.passes, arm.config.train.epochs
    if not (epochs * factor).is_integer():
        raise ConfigError(
            f"--budget compute: arm {arm.name} would need {epochs * factor:g} epochs",
            "Give an even number of --epochs.",
        )
    return Arm(
        f"{arm.name}-{factor:g}x", override(arm.config, {"train.epochs": int(epochs * factor)}, f"arm {arm.name}")
    )


def shown_settings(arm: Arm, others: Sequence[Arm]) -> Mapping[str, Any]:
    """This arm's values of the dotted keys in which the arms differ, and of R-Drop's main keys.

    Keys of a mapping such as model.config are left out where the arm has none.
    """
    trees = [flatten(other.config.model_dump()) for other in others]
    keys = dict.fromkeys(key for tree in trees for key in tree)
    shown = [key for key in keys if key in _OF_RDROP or len({repr(tree.get(key)) for tree in trees}) > 1]
    own = flatten(arm.config.model_dump())
    return {key: own[key] for key in shown if own.get(key, {}) != {}}


def shared_settings(arms: Sequence[Arm]) -> Mapping[str, Any]:
    """The most important settings among those that all arms have in common."""
    tree, changed = flatten(arms[0].config.model_dump()), shown_settings(arms[0], arms)
    return {key: tree[key] for key in _OF_A_RECIPE if key not in changed}
