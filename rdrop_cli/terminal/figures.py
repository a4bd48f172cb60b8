"""A training's newest figures and their course, in rows that fit the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from rdrop_cli.core.metrics.classification import LOWER_IS_BETTER, TITLES
from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.terminal.console import WIDE, add_row, safe, table, without_frame
from rdrop_cli.terminal.descriptions import describe_stopping, loss_terms, speeds
from rdrop_cli.terminal.sparkline import sparkline

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

EVALUATION = {f"validation_{name}": TITLES[name] for name in ("accuracy", "f1", "roc_auc", "nll")}
"""What is shown of an evaluation."""
_LABEL = 9
"""Characters of a row's label."""
_CURVE = 40
"""Most characters of a curve."""
_TALL = 24
"""Lines of a terminal that has room for a table's frame."""
_KEPT = 10_000
"""Losses that a curve is drawn of; when there are more, every second one is dropped."""


class Figures:
    """What the log entries of a training have said so far.

    Args:
        metric: The validation metric that chooses the best epoch.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.newest: Mapping[str, Any] = {}
        self.speeds: Sequence[str] = ()
        self.losses: list[float | None] = []
        self.evaluations: list[Mapping[str, Any]] = []

    def log(self, row: Mapping[str, Any]) -> None:
        """Take a log entry in."""
        if "loss" not in row:
            self.evaluations.append(row)
            return
        self.newest, self.speeds = row, speeds(row)
        if len(self.losses) >= _KEPT:
            self.losses = self.losses[::2]
        self.losses.append(row["loss"])

    def rows(self, options: ConsoleOptions) -> list[Text]:
        """The loss and what it consists of, the metric that chooses the best epoch, the speed."""
        lines: list[str] = []
        if self.newest:
            lines += _row("Loss", [_course(self.losses, options)], options.max_width)
            lines += _row("", loss_terms(self.newest), options.max_width)
        if self.evaluations:
            values = [row[f"validation_{self.metric}"] for row in self.evaluations]
            course = [_course(values, options), "(validation)"]
            lines += _row(TITLES[self.metric], course, options.max_width)
        if self.newest:
            lines += _row("Speed", self.speeds, options.max_width)
        return [Text(safe(line), no_wrap=True) for line in lines]

    def table(self, console: Console, height: int) -> Table | None:
        """A row for each evaluation, the newest that fit and the best; None where there is none or no room.

        Args:
            height: Lines that it may take.
        """
        is_framed = console.width >= WIDE and console.height >= _TALL
        room = height - (4 if is_framed else 1)
        if not self.evaluations or room < 1:
            return None
        shown = table("validation", "step", *EVALUATION.values(), "")
        for index in self._kept(room):
            row, is_best = self.evaluations[index], index == self.best
            cells = [number(row[name]) for name in EVALUATION]
            best = "best" if is_best else ""
            add_row(
                shown, f"epoch {row['epoch']:.0f}", f"{row['step']:,}", *cells, best, style="bold" if is_best else None
            )
        return shown if is_framed else without_frame(shown, console)

    @property
    def best(self) -> int | None:
        """The index of the best evaluation so far; None where the metric is undefined in all.

        Of equals, as the trainer does, the one with the lowest NLL, and of these the first.
        """
        sign = -1 if self.metric in LOWER_IS_BETTER else 1
        ranks = {
            index: (sign * value, -(row["validation_nll"] or 0.0))
            for index, row in enumerate(self.evaluations)
            if (value := row[f"validation_{self.metric}"]) is not None
        }
        return max(ranks, key=lambda index: ranks[index]) if ranks else None

    def _kept(self, room: int) -> list[int]:
        """The indices of the evaluations to show."""
        newest = list(range(len(self.evaluations)))[-room:]
        if self.best is None or self.best in newest or room < 2:
            return newest
        return [self.best, *newest[1:]]


def stopping_rows(options: ConsoleOptions) -> list[Text]:
    """What is shown between a signal and the end."""
    lines = textwrap.wrap(describe_stopping(), options.max_width)
    return [Text(line, style="yellow", no_wrap=True) for line in lines]


def _row(label: str, parts: Sequence[str], width: int) -> list[str]:
    """Parts behind a label, on more lines where one is too short; none is broken.

    Args:
        parts: May contain spaces.
    """
    whole = [part.replace(" ", "\xa0") for part in parts]  # textwrap breaks at ordinary spaces only
    lines = textwrap.wrap("  ".join(whole), max(width - _LABEL, 1), break_long_words=False, break_on_hyphens=False)
    heads = [label, *[""] * (len(lines) - 1)]
    return [f"{head:<{_LABEL}}{line}".replace("\xa0", " ") for head, line in zip(heads, lines, strict=True)]


def _course(values: Sequence[float | None], options: ConsoleOptions) -> str:
    """The first value, a curve, and the newest value."""
    first, last = number(values[0]), number(values[-1])
    if len(values) == 1:
        return last
    if options.ascii_only:
        return f"{first} -> {last}"
    room = options.max_width - _LABEL - len(first) - len(last) - 2
    return f"{first} {sparkline(values, max(1, min(_CURVE, room)))} {last}"
