"""The report of `rdrop doctor` as plain lines, to be pasted into a bug report."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.text import Text

from rdrop_cli.core.doctor.report import Finding, Section, problems
from rdrop_cli.terminal.console import safe
from rdrop_cli.wording import count

_NAME = 16
"""Characters of a name; longer ones of a section widen it."""
_NARROWEST = 30


def report(sections: Sequence[Section], width: int) -> Text:
    """Every finding on a line; those that are problems begin with an exclamation mark and say what to do below.

    Args:
        width: Characters of a line. Words that are longer themselves, such as paths, exceed it.
    """
    shown = Text()
    for section in sections:
        shown.append(f"{section.name.capitalize()}\n", style="bold")
        name_width = max(_NAME, *(len(safe(finding.name)) for finding in section.findings), 0)
        for finding in section.findings:
            _add(shown, finding, name_width, width)
        shown.append("\n")
    shown.append(summary(sections), style="bold" if problems(sections) else "bold green")
    return shown


def summary(sections: Sequence[Section]) -> str:
    """How many problems there are, and whether any of them prevents training."""
    problem_findings = problems(sections)
    if not problem_findings:
        return "No problems found"
    grave = sum(finding.prevents_training for _, finding in problem_findings)
    return count(len(problem_findings), "problem") + (
        f", {grave} of which must be solved before training" if grave else ""
    )


def _add(shown: Text, finding: Finding, name_width: int, width: int) -> None:
    style = ("bold red" if finding.prevents_training else "yellow") if finding.problem else ""
    head = f"{'!' if finding.problem else ' '} {safe(finding.name).ljust(name_width)}  "
    for index, line in enumerate(_wrap(finding.text, width - len(head))):
        shown.append(f"{head if index == 0 else ' ' * len(head)}{line}\n", style=style)
    for line in _wrap(finding.problem or "", width - len(head)):
        shown.append(f"{' ' * len(head)}{line}\n", style=style)


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(safe(text), max(width, _NARROWEST), break_long_words=False, break_on_hyphens=False)
