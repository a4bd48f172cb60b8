"""The search space of a sweep: which settings vary, and between which values. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rdrop_cli.config import dotted_keys, override
from rdrop_cli.errors import ConfigError
from rdrop_cli.strict_yaml import parse_yaml

if TYPE_CHECKING:
    from rdrop_cli.schema import Config

SHORT = {
    "alpha": "rdrop.alpha",
    "lr": "train.lr",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "label_smoothing": "train.label_smoothing",
    "weight_decay": "train.weight_decay",
    "warmup": "train.warmup",
    "max_length": "model.max_length",
}
"""Names for keys that are often varied."""
DROPOUT = "dropout"
"""Stands for every dropout probability of the encoder, which get the same value."""
_MODEL_KEY = "model.config."
_SHARED = ("data.", "hub.", "train.seed", "train.metric", "train.report_to", "train.device")
"""Keys that are the same for all trials: they use the same examples and are judged in the same way."""


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, both included.

    Attributes:
        log: Drawn evenly on a logarithmic scale.
        is_whole: Only whole numbers are drawn.
    """

    low: float
    high: float
    log: bool = False
    is_whole: bool = False

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}{':log' if self.log else ''}"

    def holds(self, value: Any) -> bool:
        """Whether a setting's value is a number within the bounds."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.values))

    def holds(self, value: Any) -> bool:
        """Whether a setting's value is one of them; None, no value, never is."""
        return value is not None and value in self.values


Dimension = Range | Choices
"""By dotted key, or `dropout`."""


def default_space(config: Config) -> dict[str, Dimension]:
    """What is varied unless `--space` says otherwise: around the values of a configuration.

    Alpha and dropout vary together because both decide how far two passes differ.
    """
    lr, epochs = config.train.lr, config.train.epochs
    return {
        "rdrop.alpha": Range(0.1, 20.0, log=True),
        DROPOUT: Range(0.05, 0.3),
        "train.label_smoothing": Choices((0.0, 0.05, 0.1, 0.2)),
        "train.lr": Range(lr / 3, lr * 3, log=True),
        "train.epochs": Choices(tuple(sorted({max(1, epochs // 2), epochs, 2 * epochs}))),
    }


def parse_space(texts: Sequence[str], config: Config) -> dict[str, Dimension]:
    """The space that `--space` options describe; without any, the default one.

    Args:
        texts: KEY=LOW..HIGH, KEY=LOW..HIGH:log, KEY=A,B,C; or `default`, to which the others then add. A single value
            takes a key out of the space and fixes it.

    Raises:
        ConfigError: a key is unknown, appears twice or cannot vary, a range is empty, or a value is invalid.
    """
    space: dict[str, Dimension] = {}
    given: set[str] = set()
    if not texts or "default" in texts:
        space = default_space(config)
    for text in texts:
        if text == "default":
            continue
        key, dimension = _parse(text)
        if key in given:
            raise ConfigError(f"--space {text}: {key} appears twice")
        given.add(key)
        space[key] = _checked(text, key, dimension, config)
    return space


def as_settings(values: Mapping[str, Any], dropout_keys: Sequence[str]) -> dict[str, Any]:
    """Dotted keys with the values of a trial.

    Args:
        values: By name in the space.
        dropout_keys: Those of the model's own configuration.
    """
    settings = {key: value for key, value in values.items() if key != DROPOUT}
    if DROPOUT in values:
        settings |= {f"{_MODEL_KEY}{key}": values[DROPOUT] for key in dropout_keys}
    return settings


def _parse(text: str) -> tuple[str, Dimension]:
    name, equals, rest = text.partition("=")
    name, rest = name.strip(), rest.strip()
    if not equals or not name or not rest:
        raise ConfigError(
            f"--space {text}: expected KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C", "For example alpha=0.1..20:log."
        )
    key = SHORT.get(name, name)
    if ".." in rest:
        low, _, high = rest.partition("..")
        bounds = _number(low), _number(high.removesuffix(":log"))
        if bounds[0] is None or bounds[1] is None:
            raise ConfigError(f"--space {text}: {rest} is not a range of numbers", "For example alpha=0.1..20:log.")
        return key, Range(bounds[0], bounds[1], log=high.endswith(":log"))
    values = tuple(parse_yaml(part, f"--space {name}") for part in rest.removeprefix("[").removesuffix("]").split(","))
    if any(isinstance(value, dict | list) for value in values):
        raise ConfigError(
            f"--space {text}: values must be numbers, words or true and false", "For example lr=1e-5,3e-5."
        )
    return key, Choices(tuple(dict.fromkeys(values)))


def _number(text: str) -> float | None:
    """A finite number; None: the text is none."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        return value if math.isfinite(value := float(text)) else None
    return None


def _checked(text: str, key: str, dimension: Dimension, config: Config) -> Dimension:
    """Refuse what cannot be varied, or not so; and settle whether only whole numbers are drawn."""
    if f"{key}.".startswith(_SHARED):
        raise ConfigError(f"--space {text}: {key} must be the same for all trials", "Use --set for it.")
    if key != DROPOUT and key not in dotted_keys() and not key.startswith(_MODEL_KEY):
        near = difflib.get_close_matches(key, [*SHORT, DROPOUT, *dotted_keys()], n=1)
        raise ConfigError(f"--space {text}: unknown key {key}{f' (did you mean {near[0]}?)' if near else ''}")
    if isinstance(dimension, Choices):
        for value in dimension.values:
            _check_value(text, key, value, config)
        return dimension
    if dimension.low >= dimension.high:
        raise ConfigError(f"--space {text}: the range is empty", "The lower bound comes first, and is lower.")
    if dimension.log and dimension.low <= 0:
        raise ConfigError(f"--space {text}: a logarithmic range must begin above 0", "Omit :log.")
    for value in (dimension.low, dimension.high):
        _check_value(text, key, value, config)
    are_whole = isinstance(dimension.low, int) and isinstance(dimension.high, int)
    return replace(dimension, is_whole=are_whole and not _takes_fractions(key, dimension, config))


def _check_value(text: str, key: str, value: Any, config: Config) -> None:
    if key != DROPOUT:
        override(config, {key: value}, f"--space {text}")
    elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ConfigError(f"--space {text}: a dropout probability must be from 0 on and below 1, got {value}")


def _takes_fractions(key: str, dimension: Range, config: Config) -> bool:
    """Whether a key takes numbers between whole ones; the schema does not know it of the model's own keys."""
    if key == DROPOUT:
        return True
    if key.startswith(_MODEL_KEY):
        return False
    try:
        override(config, {key: dimension.low + 0.5}, key)
    except ConfigError:
        return False
    return True
