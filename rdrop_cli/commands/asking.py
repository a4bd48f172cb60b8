"""Ask before something that cannot be undone."""

from __future__ import annotations

import sys

import typer


def require_answer(yes: bool, what: str) -> None:
    """Refuse to begin where nobody can be asked.

    Args:
        yes: --yes was given.
        what: What is to be agreed to, as in `to remove without asking`.

    Raises:
        typer.BadParameter: there is no terminal, and --yes was not given.
    """
    if not yes and not is_terminal():
        raise typer.BadParameter(
            f"there is no terminal to ask for confirmation on; give --yes to {what} without asking"
        )


def is_terminal() -> bool:
    """True where somebody can answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def is_agreed(question: str) -> bool:
    """Ask a question; no is the default, and the answer where the input has ended."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as error:
        typer.echo(err=True)  # ends the line of the question
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        return False
