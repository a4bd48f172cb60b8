"""`rdrop doctor`: what a bug report needs to say, and what is wrong with the installation or the machine."""

from __future__ import annotations

import contextlib

import typer

from rdrop_cli.commands import options
from rdrop_cli.terminal.console import Screen

EXAMPLES = """[bold]Examples[/]
rdrop doctor                        [dim]# for a bug report; secrets are left out[/]
rdrop doctor && rdrop train         [dim]# exits with 1 if training is impossible[/]
rdrop doctor --json | jq .problems  [dim]# what is wrong, for a script[/]
"""


def doctor(
    json_output: options.JsonOption = False, quiet: options.QuietOption = False, debug: options.DebugOption = False
) -> None:
    """Check the installation and the machine, and print what a bug report needs."""
    from rdrop_cli.core.doctor.examination import examine
    from rdrop_cli.core.doctor.report import as_document, problems
    from rdrop_cli.core.runs.layout import RUNS
    from rdrop_cli.terminal.doctor_view import report

    screen = Screen(json_output=json_output, quiet=quiet)
    with screen.ui.status("Looking at this machine") if screen.is_live else contextlib.nullcontext():
        sections = examine(RUNS)
    screen.show(report(sections, screen.ui.width))
    if json_output:
        screen.document(as_document(sections))
    if any(finding.prevents_training for _, finding in problems(sections)):
        raise typer.Exit(1)
