"""What reaches the terminal: two consoles, safe text, tables, and the one JSON document of `--json`.

Text from data is data: it is shown escaped, never as terminal codes or as rich markup.
"""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from rdrop_cli import processes

if TYPE_CHECKING:
    from rdrop_cli.terminal.stages import Stages

WIDE = 100
"""Terminals with fewer columns get tables without frames, so that no number is cut."""
_PLAIN_WIDTH = 120
"""Columns of a table that goes into a pipe or file."""
LONGEST = 2000
"""Characters of an error."""
_ENDLESS = 100_000
"""Columns of a terminal on which no table is too wide."""


def safe(value: object, limit: int | None = None) -> str:
    """Text with everything that is not printable (control, bidirectional, line ends) escaped as in Python.

    Args:
        limit: Longest result in characters; a longer one is cut and ends in an ellipsis.
    """
    text = str(value)
    if limit is not None:
        text = text[: limit + 1]
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def json_text(content: Any, indent: int | None = None) -> str:
    """JSON in which nothing can act on a terminal: readable characters as they are, all others escaped.

    Args:
        indent: Columns by which each level is indented; None: everything on one line.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    is_unicode = encoding.lower().startswith("utf")
    text = json.dumps(content, ensure_ascii=not is_unicode, allow_nan=False, indent=indent)
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\n" else _json_escape(character) for character in text
    )


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[index : index + 2].hex()}" for index in range(0, len(units), 2))


def table(*columns: str, names: Collection[int] = (0,)) -> Table:
    """A table of names, which are folded where they are long, and of numbers.

    Args:
        names: Indices of the columns that hold names.
    """
    made = Table()
    for index, column in enumerate(columns):
        is_name = index in names
        made.add_column(
            Text(safe(column)),
            justify="left" if is_name else "right",
            no_wrap=not is_name,
            overflow="fold" if is_name else "ellipsis",
        )
    return made


def add_row(to: Table, *cells: object, style: str | None = None) -> None:
    """Add cells as plain text."""
    to.add_row(*(cell if isinstance(cell, Text) else Text(safe(cell)) for cell in cells), style=style)


def without_frame(framed: Table, console: Console) -> Table:
    """The table with spaces between its columns, two where they fit."""
    framed.box, framed.pad_edge, framed.padding = None, False, (0, 2, 0, 0)
    if natural_width(framed, console) > console.width:
        framed.padding = (0, 1, 0, 0)
    return framed


def natural_width(of: Table, console: Console) -> int:
    """The columns that a table takes where nothing of it is wrapped."""
    return Measurement.get(console, console.options.update(max_width=_ENDLESS), of).maximum


WARNING = "yellow"
"""The style of a warning."""


class Screen:
    """Where a command shows things.

    Progress, tables and remarks go to stdout, or to stderr when stdout belongs to a JSON document or to data. Of
    several processes only the main one shows anything.

    Args:
        json_output: stdout is for one JSON document.
        quiet: Show results and warnings only, no progress and no other remarks.
        to_stderr: Keep stdout free for data.
    """

    def __init__(self, *, json_output: bool = False, quiet: bool = False, to_stderr: bool = False) -> None:
        self.json_output = json_output
        self.quiet = quiet or not processes.is_main_process()
        self.ui = make_console(stderr=json_output or to_stderr)

    @property
    def is_live(self) -> bool:
        """True where a view may be redrawn in place."""
        return self.ui.is_terminal and not self.quiet

    def show(self, renderable: RenderableType, *, title: str | None = None) -> None:
        """Show a result under its title; with `--json --quiet` only the document is a result."""
        if (self.json_output and self.quiet) or not processes.is_main_process():
            return
        if title is not None:
            self._print(safe(title), style="bold")
        if isinstance(renderable, Table):
            renderable = self._framed_or_not(renderable)
        is_text = isinstance(renderable, str | Text)
        self.ui.print(renderable, soft_wrap=is_text and not self.ui.is_terminal)

    def fits(self, shown: Table) -> bool:
        """Whether a table can be shown without folding anything."""
        return natural_width(self._framed_or_not(shown), self.ui) <= self.ui.width

    def _framed_or_not(self, shown: Table) -> Table:
        return without_frame(shown, self.ui) if self.ui.width < WIDE else shown

    def say(self, text: str, *, style: str | None = None, label: int = 0, to_copy: bool = False) -> None:
        """A remark on a line of its own, on a terminal on as many as its words need.

        Args:
            style: `WARNING` for what may change what a result means: it is said on stderr also when quiet,
                unless a JSON document tells.
            label: Characters of a label at its beginning, which further lines leave free.
            to_copy: It holds a command, which a line break would spoil: the terminal itself wraps it.
        """
        if not self.quiet:
            self._print(safe(text), style=style or "", label=label, to_copy=to_copy)
        elif style == WARNING and not self.json_output and processes.is_main_process():
            make_console(stderr=True).print(Text(safe(text), style=style), soft_wrap=True)

    def _print(self, text: str, *, style: str, label: int = 0, to_copy: bool = False) -> None:
        if self.ui.is_terminal and not to_copy:
            room = max(self.ui.width - label, 1)
            lines = textwrap.wrap(text[label:], room, break_long_words=False, break_on_hyphens=False)
            text = text[:label] + ("\n" + " " * label).join(lines)
        self.ui.print(Text(text, style=style), soft_wrap=True)

    def document(self, content: Any, *, indent: int | None = None) -> None:
        """Print the JSON document, on one line or indented."""
        if processes.is_main_process():
            sys.stdout.write(json_text(content, indent) + "\n")

    def stages(self) -> Stages:
        """A context manager that shows the progress of named stages."""
        from rdrop_cli.terminal.stages import Stages

        return Stages(self)


def make_console(*, stderr: bool = False) -> Console:
    """A console that interprets nothing in what it prints."""
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=_PLAIN_WIDTH)
    return console


def show_error(message: str, *, prefix: str = "error: ", shared: bool = True) -> None:
    """One line on stderr.

    An error that all processes meet is printed once: the main process prints it, and the launcher has ended the others
    by the time they would. An error that only another process meets is printed with that process's number.

    Args:
        shared: Other processes may well meet the same error.
    """
    if not processes.is_main_process():
        time.sleep(2 if shared else 0)
        message = f"process {processes.rank()}: {message}"
    make_console(stderr=True).print(Text.assemble((prefix, "bold red"), safe(message, LONGEST)), soft_wrap=True)
