"""The values of --backend, --precision and --device. The schema, which is slow to load, is loaded only if needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from rdrop_cli.core.inference.backends.base import BackendChoice
from rdrop_cli.errors import ConfigError

if TYPE_CHECKING:
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
