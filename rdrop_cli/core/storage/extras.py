"""The packages of rdrop's extras, found without importing them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from rdrop_cli.core.storage import shell
from rdrop_cli.errors import ConfigError


@dataclass(frozen=True)
class Extra:
    """One extra.

    Attributes:
        name: As in `rdrop-cli[NAME]`.
        packages: What must be importable.
    """

    name: str
    packages: tuple[str, ...]

    @property
    def install(self) -> str:
        """The command that installs it."""
        return shell.join(["pip", "install", f"rdrop-cli[{self.name}]"])

    def problem(self) -> str | None:
        """What is not installed, in words; None: everything is."""
        missing = [package for package in self.packages if find_spec(package) is None]
        if not missing:
            return None
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"

    def require(self, purpose: str) -> None:
        """Make sure that everything is installed.

        Args:
            purpose: What needs it, such as an option.

        Raises:
            ConfigError: something is not; the hint says how to install it.
        """
        if problem := self.problem():
            raise ConfigError(f"{purpose}: {problem}", f"Install it with: {self.install}")


ONNX = Extra("onnx", ("onnx", "onnxruntime", "onnxscript"))
REPORT = Extra("report", ("jinja2", "matplotlib"))
SWEEP = Extra("sweep", ("optuna",))
RAY = Extra("ray", ("ray",))
TRACKERS = {name: Extra(name, (name,)) for name in ("wandb", "mlflow")}
"""By the name of the tracker, those that rdrop does not come with."""
