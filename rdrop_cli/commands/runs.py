"""`rdrop runs`: list, show, verify and remove trained runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.text import Text

from rdrop_cli.commands import options
from rdrop_cli.commands.help_pages import EVERYDAY, Command, Group
from rdrop_cli.terminal.console import Screen, count, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdrop_cli.core.runs.removal import Removal
    from rdrop_cli.core.runs.summary import Summary
    from rdrop_cli.core.runs.verification import Verified

EXAMPLES = """[bold]Examples[/]

rdrop runs  [dim]# all runs under runs/, newest first[/]

rdrop runs --dir comparisons/NAME  [dim]# the runs of a comparison[/]

rdrop runs show NAME  [dim]# everything about one[/]

rdrop runs rm --checkpoints NAME  [dim]# keep the model, free most of the disk[/]

rdrop runs verify  [dim]# is every file as it was written?[/]
"""
LIST_EXAMPLES = """[bold]Examples[/]

rdrop runs  [dim]# all runs under runs/, newest first[/]

rdrop runs --dir comparisons/NAME  [dim]# the runs of a comparison[/]
"""
SHOW_EXAMPLES = """[bold]Examples[/]

rdrop runs show NAME

rdrop runs show NAME --json  [dim]# everything, for a script[/]
"""
REMOVE_EXAMPLES = """[bold]Examples[/]

rdrop runs rm NAME OTHER  [dim]# remove two runs; asks first[/]

rdrop runs rm --checkpoints NAME  [dim]# keep the model, free most of the disk[/]
"""
VERIFY_EXAMPLES = """[bold]Examples[/]

rdrop runs verify  [dim]# every run under runs/[/]

rdrop runs verify NAME
"""


class _ListByDefault(Group):
    """`rdrop runs` and `rdrop runs --json` are `rdrop runs list` and `rdrop runs list --json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_list = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        return super().parse_args(ctx, ["list", *args] if is_list and not ctx.resilient_parsing else args)


app = typer.Typer(
    cls=_ListByDefault, help="List, show, verify and remove runs. Without a command: list them.", epilog=EXAMPLES
)


def _complete(ctx: typer.Context, incomplete: str) -> list[str]:
    from rdrop_cli.core.runs.finding import run_names

    return [name for name in run_names(ctx.params.get("folder") or Path("runs")) if name.startswith(incomplete)]


DirOption = Annotated[
    Path,
    typer.Option(
        "--dir", metavar="DIR", help="Folder with the runs; also one under comparisons/.", rich_help_panel=EVERYDAY
    ),
]
_NAME = {"metavar": "NAME", "autocompletion": _complete}
NameArgument = Annotated[str, typer.Argument(help="A run's name, or its folder.", **_NAME)]
NamesArgument = Annotated[list[str], typer.Argument(help="Names of runs, or their folders.", **_NAME)]
RUNS = Path("runs")


@app.command("list", cls=Command, epilog=LIST_EXAMPLES)
def list_(
    folder: DirOption = RUNS,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """List runs, newest first: settings, test metrics, size and age."""
    from rdrop_cli.core.runs.finding import find_runs
    from rdrop_cli.core.runs.layout import COMPARISONS
    from rdrop_cli.core.runs.summary import list_runs
    from rdrop_cli.core.storage.files import user_path

    screen = Screen(json_output=json_output, quiet=quiet)
    folder = user_path(folder)
    is_default = folder == RUNS
    runs = list_runs(folder) if folder.is_dir() or not is_default else []
    elsewhere = len(find_runs(COMPARISONS)) if is_default and COMPARISONS.is_dir() else 0
    _show_list(screen, folder, runs, elsewhere)
    if json_output:
        screen.document(
            {
                "dir": str(folder),
                "runs": [run.as_dict() for run in runs],
                "bytes": sum(run.size for run in runs),
                "not_listed": {str(COMPARISONS): elsewhere} if elsewhere else {},
            }
        )


def _show_list(screen: Screen, folder: Path, runs: Sequence[Summary], elsewhere: int) -> None:
    from rdrop_cli.terminal.runs_tables import RunsTable, in_all

    if runs:
        screen.show(RunsTable(runs))
    damaged = [run for run in runs if run.state == "damaged"]
    for run in damaged:
        screen.say("; ".join(run.faults), style="red")
    if damaged:
        screen.say("What to do about damage: rdrop runs verify")
    if elsewhere:
        screen.say(f"Not listed: {count(elsewhere, 'run')} of comparisons. See: rdrop runs --dir comparisons")
    if runs:
        screen.show(Text(in_all(runs), style="bold"))
    else:
        screen.show(f"No runs in {safe(folder)} yet. Make one with: rdrop train --alpha 5")


@app.command("show", cls=Command, epilog=SHOW_EXAMPLES)
def show(
    name: NameArgument,
    folder: DirOption = RUNS,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Show one run: data, settings, metrics of all splits, time, disk, and what to do next."""
    from rdrop_cli.core.runs.details import describe_run
    from rdrop_cli.core.runs.finding import name_in, named_run
    from rdrop_cli.core.storage.files import user_path

    screen = Screen(json_output=json_output, quiet=quiet)
    run = named_run(name, user_path(folder))
    found = describe_run(run, name_in(user_path(folder), run))
    _show_run(screen, found)
    if json_output:
        screen.document(found)


def _show_run(screen: Screen, run: dict[str, Any]) -> None:
    from rdrop_cli.core.metrics.classification import TITLES, average_of
    from rdrop_cli.terminal.runs_tables import details_table
    from rdrop_cli.terminal.tables import metrics_table

    screen.show(details_table(run), title=run["run"])
    if run["metrics"]:
        missing = {"examples": 0, **dict.fromkeys(TITLES)}  # what an earlier version did not measure
        average = f"; F1: {average_of(run['labels'])}" if run["labels"] else ""
        table = metrics_table({split: {**missing, **values} for split, values in run["metrics"].items()})
        screen.show(table, title=f"Metrics of the best epoch{average}")
    for remark in run["remarks"]:
        screen.say(remark, style="yellow")
    for fault in run["faults"]:
        screen.say(fault, style="red")
    for command in run["next"]:
        screen.say(f"Next: {command}", style="bold")


@app.command("rm", cls=Command, epilog=REMOVE_EXAMPLES)
def remove(
    names: NamesArgument,
    checkpoints: Annotated[
        bool,
        typer.Option(
            "--checkpoints",
            help="Remove only the checkpoints of finished runs, which nothing needs; best/ and all records stay.",
            rich_help_panel=EVERYDAY,
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", rich_help_panel=EVERYDAY)] = False,
    folder: DirOption = RUNS,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Remove runs, or only their checkpoints. Files that are not part of a run are kept."""
    from rdrop_cli.core.runs import removal
    from rdrop_cli.core.storage.files import user_path
    from rdrop_cli.terminal.runs_tables import size

    if not yes and not is_terminal():
        raise typer.BadParameter("there is no terminal to ask for confirmation on; give --yes to remove without asking")
    screen = Screen(json_output=json_output, quiet=quiet)
    planned = removal.plan_removal(names, user_path(folder), checkpoints_only=checkpoints)
    freed = sum(one.size for one in planned)
    what = ("the checkpoints of " if checkpoints else "") + count(len(planned), "run")
    _show_removal(screen, planned)
    if not yes and not typer.confirm(f"Remove {what} and free {size(freed)}?", err=True):
        screen.say("Nothing was removed")
        raise typer.Exit(1)
    for one in planned:
        removal.remove(one)
    screen.show(f"Removed {what}; {size(freed)} freed")
    if checkpoints:
        screen.say("best/ and all records are kept: evaluate and predict work as before")
    if json_output:
        removed = [{"run": str(one.run), "bytes": one.size, "kept": list(one.kept)} for one in planned]
        screen.document({"removed": removed, "checkpoints_only": checkpoints, "bytes": freed})


def is_terminal() -> bool:
    """True where somebody can answer."""
    return sys.stdin.isatty()


def _show_removal(screen: Screen, planned: Sequence[Removal]) -> None:
    from rdrop_cli.terminal.runs_tables import removal_table

    screen.show(removal_table(planned))
    for one in planned:
        if one.kept:
            screen.say(f"{one.run}: not part of a run, so kept: {', '.join(one.kept)}", style="yellow")


@app.command("verify", cls=Command, epilog=VERIFY_EXAMPLES)
def verify(
    names: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer reads it at run time
        typer.Argument(help="Names of runs, or their folders. Default: all runs.", **_NAME),
    ] = None,
    folder: DirOption = RUNS,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Check that every file is as it was written, by size and SHA-256. Exit code 1: one is damaged or unreadable."""
    from rdrop_cli.core.runs.verification import verify_runs
    from rdrop_cli.core.storage.files import user_path

    screen = Screen(json_output=json_output, quiet=quiet)
    folder = user_path(folder)
    with screen.stages() as stages:
        is_any = names or folder.is_dir() or folder != RUNS
        found = verify_runs(names or (), folder, stages.update) if is_any else []
    _show_verified(screen, found, folder)
    damaged, unreadable = (sum(run.outcome == outcome for run in found) for outcome in ("damaged", "unreadable"))
    if json_output:
        screen.document({"runs": [run.as_dict() for run in found], "damaged": damaged, "unreadable": unreadable})
    if damaged or unreadable:
        raise typer.Exit(1)


def _show_verified(screen: Screen, found: Sequence[Verified], folder: Path) -> None:
    from rdrop_cli.terminal.runs_tables import verified_in_all, verified_table

    if not found:
        screen.show(f"No runs in {safe(folder)} yet. Make one with: rdrop train --alpha 5")
        return
    screen.show(verified_table(found))
    for run in found:
        for path, fault in (run.faults or {}).items():
            screen.show(Text(safe(f"{path}: {fault}"), style="red"))
        if run.remedy:
            screen.show(Text(safe(f"  {run.remedy}")))
        for path in run.unsealed:
            screen.say(f"{path}: no manifest, so nothing can be said of it")
        if run.outcome == "in use":
            screen.say(f"{run.run}: skipped, as it is being written now", style="yellow")
    screen.show(Text(verified_in_all(found), style="bold"))
