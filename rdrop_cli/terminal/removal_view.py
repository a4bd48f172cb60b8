"""What is said before and after runs are removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rdrop_cli.terminal.console import add_row, table
from rdrop_cli.wording import count, size

if TYPE_CHECKING:
    from rich.table import Table

    from rdrop_cli.core.runs.removal import Removal

_WHOLE = (
    "best/, checkpoints/ and tensorboard/ are removed with everything in them; other files at the top of the folder are"
    " kept.\n"
)


def removal_table(removals: Sequence[Removal]) -> Table:
    """One row a run: what goes."""
    made = table("run", "state", "frees")
    for removal in removals:
        state = "link" if removal.link_to else "finished" if removal.is_finished else "unfinished"
        add_row(made, removal.run, state, size(removal.size))
    return made


def remarks_before(removals: Sequence[Removal]) -> Iterator[str]:
    """What is not removed."""
    for removal in removals:
        if removal.link_to:
            yield f"{removal.run}: a link to {removal.link_to}; only the link is removed"
        if removal.kept:
            yield f"{removal.run}: not part of a run, so kept: {', '.join(removal.kept)}"


def question(removals: Sequence[Removal]) -> str:
    """What has to be agreed to."""
    is_whole = any(not removal.checkpoints_only and not removal.link_to for removal in removals)
    return f"{_WHOLE if is_whole else ''}Remove {_what(removals)} and free {_freed(removals)}?"


def result(removals: Sequence[Removal]) -> str:
    """What was done."""
    return f"Removed {_what(removals)}; {_freed(removals)} freed"


def remarks_after(removals: Sequence[Removal]) -> Iterator[str]:
    """What is left to do."""
    comparisons = Counter(removal.comparison for removal in removals if removal.comparison is not None)
    for folder, runs in comparisons.items():
        which = "this run" if runs == 1 else "these runs"
        yield f"{folder / 'results.*'} still include {which}; run the compare command again to update them"


def _what(removals: Sequence[Removal]) -> str:
    """As `2 runs and 1 link`."""
    links = sum(removal.link_to is not None for removal in removals)
    numbers = {"run": len(removals) - links, "link": links}
    of = "the checkpoints of " if removals[0].checkpoints_only else ""
    return of + " and ".join(count(number, noun) for noun, number in numbers.items() if number)


def _freed(removals: Sequence[Removal]) -> str:
    return size(sum(removal.size for removal in removals))
