"""What the options --backend, --precision, --device, --threshold and --choose-threshold say, checked.

The schema, which is slow to load, is loaded only if needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from rdrop_cli.core.inference.backends.base import BackendChoice
from rdrop_cli.errors import ConfigError

if TYPE_CHECKING:
    from rdrop_cli.core.metrics.thresholds import Rule
    from rdrop_cli.schema import Precision


def parse_backend(name: str | None, default: BackendChoice = "auto") -> BackendChoice:
    """The backend of a `--backend` option.

    Args:
        default: If the option was not given.

    Raises:
        ConfigError: there is no such backend.
    """
    if name is None:
        return default
    known: tuple[BackendChoice, ...] = get_args(BackendChoice)
    for backend in known:
        if name == backend:
            return backend
    raise ConfigError(f"--backend {name}: unknown", f"Known: {', '.join(known)}.")


def parse_precision(name: str | None) -> Precision | None:
    """The precision of a `--precision` option; None if it was not given.

    Raises:
        ConfigError: there is no such precision.
    """
    if not name:
        return None
    from rdrop_cli.config import validate

    return validate({"train": {"precision": name}}, "--precision").train.precision


def parse_device(name: str | None) -> str:
    """The device of a `--device` option; `auto` if it was not given.

    Raises:
        ConfigError: the name is not that of a device.
    """
    if not name:
        return "auto"
    from rdrop_cli.config import validate

    return validate({"train": {"device": name}}, "--device").train.device


def parse_rule(text: str | None) -> Rule | Literal["none"] | None:
    """What a threshold is to reach, as a `--choose-threshold` option says it; None if it was not given.

    Raises:
        ConfigError: it says something else.
    """
    if text is None or text == "none":
        return "none" if text else None
    from rdrop_cli.core.metrics.thresholds import Rule

    metric, _, value = text.partition("=")
    if text == "f1":
        return Rule("f1")
    wanted = _number(value)
    if metric not in ("precision", "recall") or wanted is None or not 0 < wanted <= 1:
        raise ConfigError(
            f"--choose-threshold {text}: must be f1, precision=P, recall=R or none", "P and R are above 0, at most 1."
        )
    return Rule("precision" if metric == "precision" else "recall", wanted)


def parse_threshold(text: str | None) -> float | Literal["none"] | None:
    """The value of a `--threshold` option; None if it was not given.

    Raises:
        ConfigError: it is neither a number above 0 and below 1 nor none.
    """
    if text is None or text == "none":
        return "none" if text else None
    value = _number(text)
    if value is None or not 0 < value < 1:
        raise ConfigError(f"--threshold {text}: must be a number above 0 and below 1, or none")
    return value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
