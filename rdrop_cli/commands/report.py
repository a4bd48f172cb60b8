"""`rdrop report`: a run or a comparison as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from rdrop_cli.commands import help_pages, options
from rdrop_cli.terminal.console import Screen
from rdrop_cli.wording import size

if TYPE_CHECKING:
    from rdrop_cli.core.report.build import WrittenReport

EXAMPLES = """[bold]Examples[/]
rdrop report                              [dim]# the newest finished run[/]
rdrop report runs/NAME                    [dim]# writes runs/NAME/report.html[/]
rdrop report NAME --against runs/OTHER    [dim]# two runs side by side[/]
rdrop report comparisons/NAME             [dim]# arms, seeds and differences[/]
"""


def report(
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            metavar="RUN", help="A run or a comparison: its folder or name. Default: the newest finished run."
        ),
    ] = None,
    against: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="RUN",
            help="Put another run with the same test examples beside it.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The file to write. Default: report.html in the folder of the run.",
            rich_help_panel=help_pages.OUTPUT,
        ),
    ] = None,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Write a run or a comparison as one HTML file, with pictures."""
    from rdrop_cli.core.report.build import write_report
    from rdrop_cli.core.storage.files import user_path

    screen = Screen(json_output=json_output, quiet=quiet)
    with screen.stages() as stages:
        written = write_report(
            name,
            against=against,
            out=user_path(out) if out is not None else None,
            on_progress=stages.update,
        )
    _show(screen, written)
    if json_output:
        screen.document(written.as_dict())


def _show(screen: Screen, written: WrittenReport) -> None:
    for title, reason in written.left_out:
        screen.say(f"{title}: {reason}", style="yellow")
    screen.show(f"Report: {written.path} ({size(written.size)}, open it in a browser)")
