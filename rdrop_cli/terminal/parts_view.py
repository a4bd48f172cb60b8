"""Progress over the files of an input that consists of many: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rdrop_cli.terminal.stages import progress
from rdrop_cli.wording import duration

if TYPE_CHECKING:
    from rdrop_cli.terminal.console import Screen

_MOMENT = 0.2
"""Seconds between two updates of the bar."""
_REMINDER = 15.0
"""Seconds between two lines where there is no terminal."""


class PartsView:
    """Shows how many parts and rows are done, how many rows a second, and how long it will still take.

    The time left is estimated from the sizes of the parts. Within a part, its rows count as much as those of the parts
    before it did on average.

    Args:
        count: The number of parts.
        size: Of all parts together, in bytes.
    """

    def __init__(self, screen: Screen, count: int, size: int) -> None:
        self.screen, self.count, self.size = screen, count, size
        self.parts = self.done = self.rows = self._rows_ahead = 0
        self._began = self._said = time.monotonic()
        self._bar = progress(screen.ui, "{task.fields[state]}", transient=True)
        self._task = self._bar.add_task("Parts", total=max(size, 1), state="")

    def __enter__(self) -> PartsView:
        if self.screen.is_live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.screen.is_live:
            self._bar.stop()

    def row(self) -> None:
        """A row of a part that is not finished yet has been predicted."""
        self._rows_ahead += 1
        if self._rows_ahead % 256 == 0:
            self.update()

    def part(self, size: int, rows: int) -> None:
        """A part is done.

        Args:
            size: In bytes.
        """
        self.parts += 1
        self.done += size
        self.rows += rows
        self._rows_ahead = 0
        self.update()

    def update(self) -> None:
        """Show the state, if it was shown long enough ago."""
        now = time.monotonic()
        if now - self._said < (_MOMENT if self.screen.is_live else _REMINDER):
            return
        self._said = now
        if self.screen.is_live:
            self._bar.update(self._task, completed=self._ahead(), state=self.state(now - self._began))
        else:
            self.screen.say(f"Parts: {self.state(now - self._began)}")

    def state(self, seconds: float) -> str:
        """The state in words.

        Args:
            seconds: Since the beginning.
        """
        rows, ahead = self.rows + self._rows_ahead, self._ahead()
        words = [f"{self.parts:,} of {self.count:,}", f"{rows:,} rows"]
        if seconds > 0:
            words.append(f"{rows / seconds:,.0f}/s")
        if 0 < ahead <= self.size and self.rows:
            words.append(f"{duration(seconds * (self.size - ahead) / ahead)} left")
        return ", ".join(words)

    def _ahead(self) -> float:
        """Bytes that are done, estimated for the part that is being predicted."""
        if not self.rows:
            return self.done
        return min(self.done + self._rows_ahead * self.done / self.rows, self.size)
