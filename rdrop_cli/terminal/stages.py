"""Progress of what takes long: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from rdrop_cli.terminal.console import Screen, safe

if TYPE_CHECKING:
    from rich.console import Console

_LONG = 10.0
"""Seconds after which the rate of a stage is worth showing in a pipe."""
_REMINDER = 15.0
"""Seconds after which a stage whose output goes into a pipe says how far it is."""


def progress(console: Console, *columns: type[ProgressColumn] | str, transient: bool = False) -> Progress:
    """Bars behind a description; on a narrow terminal only the bar gets shorter.

    Args:
        columns: What stands behind the bar: kinds of columns, or texts with the fields of a task.
        transient: Leave nothing of it on the terminal.
    """
    made = [
        TextColumn(column, markup=False, table_column=Column(no_wrap=True))
        if isinstance(column, str)
        else column(table_column=Column(no_wrap=True))
        for column in ("{task.description}", *columns)
    ]
    return Progress(
        *(made[0], BarColumn(), *made[1:]),
        console=console,
        transient=transient,
        redirect_stdout=sys.stdout.isatty(),  # above the bars; what goes into a file or a pipe is not for the terminal
    )


class Stages:
    """Progress of named stages: bars on a terminal, a line for each finished stage elsewhere."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._tasks: dict[str, TaskID] = {}
        self._name = ""
        self._began = self._said = time.monotonic()
        self._progress = progress(
            screen.ui, MofNCompleteColumn, "{task.fields[rate]}", TimeRemainingColumn, transient=True
        )

    def __enter__(self) -> Stages:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bars off the terminal."""
        if self.screen.is_live:
            self._progress.stop()

    def open(self) -> None:
        """Put the bars back."""
        if self.screen.is_live:
            self._progress.start()

    def update(self, name: str, done: int, total: int | None) -> None:
        """A stage has `done` of `total` rows (None: not known)."""
        if self.screen.is_live:
            if name not in self._tasks:
                for task in self._tasks.values():
                    self._progress.update(task, visible=False)
                self._tasks[name] = self._progress.add_task(safe(name), total=total, rate="")
            bar = self._progress.tasks[self._progress.task_ids.index(self._tasks[name])]
            rate = f"{bar.speed:,.0f}/s" if bar.speed else ""
            self._progress.update(self._tasks[name], completed=done, total=total, rate=rate)
        else:
            self._tell(name, done, total)

    def _tell(self, name: str, done: int, total: int | None) -> None:
        """A line when a stage is done, and now and then before."""
        now = time.monotonic()
        if name != self._name:
            self._name, self._began, self._said = name, now, now
        seconds = now - self._began
        rate = f", {done / seconds:,.0f}/s" if seconds >= _LONG else ""
        if total is not None and done >= total > 0:
            if name not in self._tasks:
                self._tasks[name] = TaskID(0)
                self.screen.say(f"{name}: {total:,} done{rate}")
        elif now - self._said >= _REMINDER:
            self._said = now
            self.screen.say(f"{name}: {done:,}{f' of {total:,}' if total else ''}{rate}")
