"""What a comparison is about to do, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.comparison.arms import Arm, shown_settings
from rdrop_cli.terminal.descriptions import LABEL
from rdrop_cli.wording import count, duration, size

if TYPE_CHECKING:
    from rdrop_cli.core.comparison.grid import Cell
    from rdrop_cli.core.comparison.observer import ComparisonPlan
    from rdrop_cli.terminal.console import Screen


def describe_plan(plan: ComparisonPlan, cells: Sequence[Cell]) -> list[str]:
    """What is going to happen, in a few lines."""
    arms = list({cell.arm.name: cell.arm for cell in cells}.values())
    seeds = list(dict.fromkeys(cell.seed for cell in cells))
    config = cells[0].config
    spread = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    done = len(cells) - len(plan.cells)
    lines = [
        *(f"{'Arms' if arm is arms[0] else '':<6} {arm.name}: {describe_settings(arm, arms)}" for arm in arms),
        f"Runs   {count(len(cells), 'run')}: {count(len(arms), 'arm')}, {spread}" + (f"; {done} done" if done else ""),
        f"Best   by validation {config.train.metric}; the test split is used once a run",
    ]
    if len(seeds) == 1:
        lines.append("Note   one seed shows nothing, as there is no spread to judge by: use --seeds 5 or more")
    if plan.cells:
        time = "for a time that the first run will show" if plan.total is None else f"about {duration(plan.total)}"
        pace = f", {plan.at_once} at a time" if plan.at_once > 1 else ""
        lines.append(f"To do  {count(len(plan.cells), 'run')}{pace}, {time}; disk {size(plan.disk)} at most")
    else:
        lines.append("To do  nothing: every run is done")
    return lines


def describe_settings(arm: Arm, arms: Sequence[Arm]) -> str:
    """R-Drop's settings of an arm and those in which arms differ, in a few words."""
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in shown_settings(arm, arms).items())


def describe_disagreement(ensembles: Mapping[str, Mapping[str, Any]]) -> str:
    """How often two runs of each arm give an example different labels."""
    shares = ", ".join(f"{arm} {ensemble['disagreement']:.1%}" for arm, ensemble in ensembles.items())
    return f"Test examples to which two runs of an arm give different labels, mean over all pairs: {shares}"


def say_plan(screen: Screen, plan: ComparisonPlan, cells: Sequence[Cell]) -> None:
    """Show the plan."""
    for line in describe_plan(plan, cells):
        screen.say(line, label=LABEL)


def named(cell: str, message: str) -> str:
    """A message with the cell that it is about; before the first one begins there is none."""
    return f"{cell}: {message}" if cell else message
