"""What was found, as data: lines in sections, some of which are problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One line.

    Attributes:
        name: What it is about, in a word or two.
        text: What was found.
        value: The same for programs; None: the text.
        problem: What is wrong with it and what to do, in sentences; None: nothing is.
        prevents_training: No training can succeed before it is solved.
    """

    name: str
    text: str
    value: Any = None
    problem: str | None = None
    prevents_training: bool = False


@dataclass(frozen=True)
class Section:
    """Findings about one subject."""

    name: str
    findings: tuple[Finding, ...]


def problems(sections: Sequence[Section]) -> list[tuple[str, Finding]]:
    """The findings that are problems, each with its section's name."""
    return [(section.name, finding) for section in sections for finding in section.findings if finding.problem]


def as_document(sections: Sequence[Section]) -> dict[str, Any]:
    """The whole report for programs."""
    wrong = problems(sections)
    return {
        **{
            section.name: {
                finding.name.replace(" ", "_"): finding.text if finding.value is None else finding.value
                for finding in section.findings
            }
            for section in sections
        },
        "problems": [
            {
                "where": f"{section}.{finding.name.replace(' ', '_')}",
                "problem": finding.problem,
                "prevents_training": finding.prevents_training,
            }
            for section, finding in wrong
        ],
        "can_train": not any(finding.prevents_training for _, finding in wrong),
    }
