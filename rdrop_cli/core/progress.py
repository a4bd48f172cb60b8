"""The types of the functions that are told of progress, and those that ignore it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with a stage's name, the number of rows done, and the total (None: unknown)."""
Notice = Callable[[str], None]
"""Called with one line that a user should read."""


def no_progress(stage: str, done: int, total: int | None) -> None:
    """Ignore progress."""


def no_notice(message: str) -> None:
    """Ignore a message."""


def counting(on_progress: Progress, stage: str, total: int) -> Callable[[int], None]:
    """A function to call with the number of rows just done; it reports how many have been done in all."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        on_progress(stage, done, total)

    return advance
