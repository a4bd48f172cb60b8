"""What is said before and after a model is published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rdrop_cli.terminal.console import add_row, table
from rdrop_cli.wording import count, listed, size

if TYPE_CHECKING:
    from rich.table import Table

    from rdrop_cli.core.publishing.push import PushPlan

_MOST = 10
"""Paths of other files on the hub that are named."""


def files_table(plan: PushPlan) -> Table:
    """One row a file: what is sent, what it replaces, and what is deleted."""
    made = table("file", "size", "on the hub", names=(0, 2))
    for file in plan.contents.files:
        add_row(made, file.path, size(file.size), "replaced" if file.path in plan.replaced else "new")
    for path in plan.deleted:
        add_row(made, path, "", "deleted, as it is of an earlier model")
    return made


def destination(plan: PushPlan) -> str:
    """Where the files go, as the title of their table."""
    kind = "private" if plan.private else "public"
    which = f"{kind} repository that exists" if plan.exists else f"new {kind} repository"
    return f"To {plan.url}, a {which}: {sent(plan)}"


def remarks(plan: PushPlan) -> Iterator[str]:
    """What is not sent, and what stays on the hub as it is."""
    reasons: dict[str, list[str]] = {}
    for path, reason in plan.contents.left_out.items():
        reasons.setdefault(reason, []).append(path)
    if reasons:
        parts = (f"{', '.join(paths)} ({reason})" for reason, paths in reasons.items())
        yield f"Left out of best/: {'; '.join(parts)}"
    if plan.kept:
        yield f"Stays on the hub as it is: {listed(plan.kept, _MOST)}"


def question(plan: PushPlan) -> str:
    """What has to be agreed to."""
    seen = "only its owner can see it" if plan.private else "everyone can see it"
    return f"Publish {sent(plan)} as {plan.repository}, where {seen}?"


def sent(plan: PushPlan) -> str:
    """As `8 files, 91 MiB`."""
    return f"{count(len(plan.contents.files), 'file')}, {size(plan.contents.size)}"
