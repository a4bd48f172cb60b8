"""How `--help` is laid out: options in panels, and no type beside those that take no value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

EVERYDAY = "Everyday"
DATA = "Data"
TRAINING = "Training"
MACHINE = "Machine"
OUTPUT = "Output"
"""Panels of options."""

RUNS_AND_MACHINE = "Runs and machine"
"""The panel of the commands that neither train nor measure; the others are everyday ones."""


class Command(TyperCommand):
    """A command all of whose options name a panel; `--help` stands with those about output."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, as they are to be shown."""
        return _arranged(super().get_params(ctx))


class Group(TyperGroup):
    """The same for a command that has commands of its own."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, as they are to be shown."""
        return _arranged(super().get_params(ctx))


def _arranged(parameters: list[Any]) -> list[Any]:
    hide_types_of_flags(parameters)
    parameters[-1].rich_help_panel = OUTPUT  # --help, which Typer adds
    return parameters


def hide_types_of_flags(parameters: Iterable[Any]) -> None:
    """Typer shows `<bool>` beside an option that takes no value."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""


def between(low: int, high: int | None = None) -> Callable[[int | None], int | None]:
    """A callback that refuses numbers out of a range. Typer's own `min` and `max` would be shown in the help.

    Raises:
        typer.BadParameter: the number is out of it.
    """

    def check(value: int | None) -> int | None:
        if value is not None and (value < low or (high is not None and value > high)):
            limits = f"{low} or more" if high is None else f"from {low} to {high}"
            raise typer.BadParameter(f"{value} is not allowed, it must be {limits}")
        return value

    return check


def inside(low: float, high: float) -> Callable[[float | None], float | None]:
    """A callback that refuses numbers out of a range, and its ends.

    Raises:
        typer.BadParameter: the number is out of it.
    """

    def check(value: float | None) -> float | None:
        if value is not None and not low < value < high:
            raise typer.BadParameter(f"{value} is not allowed, it must be above {low:g} and below {high:g}")
        return value

    return check
