"""`rdrop runs`: list, show, verify and remove trained runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.text import Text

from rdrop_cli.commands import asking, options
from rdrop_cli.commands.help_pages import EVERYDAY, Command, Group
from rdrop_cli.terminal.console import Screen, safe
from rdrop_cli.wording import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdrop_cli.core.runs.removal import Removal
    from rdrop_cli.core.runs.summary import Summary
    from rdrop_cli.core.runs.verification import RunVerification


def _examples(*lines: str) -> str:
    return "\n\n".join(["[bold]Examples[/]", *lines])


_LIST = "rdrop runs  [dim]# all runs under runs/, newest first[/]"
_LIST_OTHERS = "rdrop runs --dir comparisons/NAME  [dim]# the runs of a comparison[/]"
_SHOW = "rdrop runs show NAME  [dim]# everything about one[/]"
_FREE = "rdrop runs rm --checkpoints NAME  [dim]# keep the model, free most of the disk[/]"
_VERIFY = "rdrop runs verify  [dim]# is every run under runs/ intact?[/]"


class _ListByDefault(Group):
    """`rdrop runs --json` is `rdrop runs list --json`; options may also stand before the command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        has_options_first = bool(args) and args[0].startswith("-") and args[0] not in ctx.help_option_names
        if (not args or has_options_first) and not ctx.resilient_parsing:
            named = (i for i, word in enumerate(args) if word in self.commands and args[i - 1] != "--dir")
            at = next(named, None)
            args = ["list", *args] if at is None else [args[at], *args[:at], *args[at + 1 :]]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ListByDefault,
    help="List, show, verify and remove runs. Without a command: list them, with the options of rdrop runs list (--dir,"
    " --json and others).",
    epilog=_examples(_LIST, _LIST_OTHERS, _SHOW, _FREE, _VERIFY),
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


@app.command("list", cls=Command, epilog=_examples(_LIST, _LIST_OTHERS))
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


@app.command(
    "show", cls=Command, epilog=_examples(_SHOW, "rdrop runs show NAME --json  [dim]# the same, for a script[/]")
)
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
    details = describe_run(run, name_in(user_path(folder), run))
    _show_run(screen, details)
    if json_output:
        screen.document(details)


def _show_run(screen: Screen, run: dict[str, Any]) -> None:
    from rdrop_cli.core.metrics.classification import TITLES, average_of
    from rdrop_cli.terminal.runs_tables import details_table
    from rdrop_cli.terminal.tables import PROBABILITIES, metrics_table, probabilities_table

    screen.show(details_table(run), title=run["run"])
    if run["metrics"]:
        missing = {"examples": 0, **dict.fromkeys(TITLES)}  # what an earlier version did not measure
        average = f"; F1: {average_of(run['labels'])}" if run["labels"] else ""
        metrics = {split: {**missing, **values} for split, values in run["metrics"].items()}
        screen.show(metrics_table(metrics), title=f"Metrics of the best epoch{average}")
        screen.show(probabilities_table(metrics), title=PROBABILITIES)
    for remark in run["remarks"]:
        screen.say(remark, style="yellow")
    for fault in run["faults"]:
        screen.say(fault, style="red")
    for command in run["next"]:
        screen.say(f"Next: {command}", style="bold")


@app.command(
    "rm", cls=Command, epilog=_examples("rdrop runs rm NAME OTHER  [dim]# remove two runs; asks first[/]", _FREE)
)
def remove(
    names: NamesArgument,
    checkpoints: Annotated[
        bool,
        typer.Option(
            "--checkpoints",
            help="Only the checkpoints of finished runs, which are no longer needed; best/ and all records stay.",
            rich_help_panel=EVERYDAY,
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", rich_help_panel=EVERYDAY)] = False,
    folder: DirOption = RUNS,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Remove runs, or only their checkpoints.

    best/, checkpoints/ and tensorboard/ are removed with everything in them.

    Other files at the top of the folder are kept. Of a run that is a link, only the link is removed.
    """
    from rdrop_cli.core.runs import removal
    from rdrop_cli.core.storage.files import user_path

    asking.require_answer(yes, "remove")
    screen = Screen(json_output=json_output, quiet=quiet)
    named = removal.plan_removal(names, user_path(folder), checkpoints_only=checkpoints)
    planned = [one for one in named if not one.is_empty]
    for one in named:
        if one.is_empty:
            screen.say(f"{one.run}: has no checkpoints")
    if planned:
        _remove(screen, planned, ask=not yes)
    if json_output:
        freed = sum(one.size for one in planned)
        removed = [_as_dict(one) for one in planned]
        screen.document({"removed": removed, "checkpoints_only": checkpoints, "bytes": freed})


def _remove(screen: Screen, planned: Sequence[Removal], *, ask: bool) -> None:
    from rdrop_cli.core.runs import removal
    from rdrop_cli.terminal import removal_view

    screen.show(removal_view.removal_table(planned))
    for remark in removal_view.remarks_before(planned):
        screen.say(remark, style="yellow")
    if ask and not asking.is_agreed(removal_view.question(planned)):
        screen.say("Nothing was removed")
        raise typer.Exit(1)
    for one in planned:
        removal.remove(one)
    screen.show(removal_view.result(planned))
    if planned[0].checkpoints_only:
        screen.say("best/ and all records are kept: evaluate and predict work as before")
    for remark in removal_view.remarks_after(planned):
        screen.say(remark, style="yellow")


def _as_dict(removal: Removal) -> dict[str, Any]:
    link = str(removal.link_to) if removal.link_to else None
    return {"run": str(removal.run), "bytes": removal.size, "kept": list(removal.kept), "link_to": link}


@app.command("verify", cls=Command, epilog=_examples(_VERIFY, "rdrop runs verify NAME"))
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
    """Check weights and checkpoints by size and SHA-256, and that every record can be read.

    Exit code 1: a run is damaged or unreadable.
    """
    from rdrop_cli.core.runs.verification import verify_runs
    from rdrop_cli.core.storage.files import user_path

    screen = Screen(json_output=json_output, quiet=quiet)
    folder = user_path(folder)
    with screen.stages() as stages:
        is_any = names or folder.is_dir() or folder != RUNS
        verifications = verify_runs(names or (), folder, stages.update) if is_any else []
    _show_verified(screen, verifications, folder)
    damaged, unreadable = (
        sum(run.outcome == outcome for run in verifications) for outcome in ("damaged", "unreadable")
    )
    if json_output:
        screen.document(
            {"runs": [run.as_dict() for run in verifications], "damaged": damaged, "unreadable": unreadable}
        )
    if damaged or unreadable:
        raise typer.Exit(1)


def _show_verified(screen: Screen, verifications: Sequence[RunVerification], folder: Path) -> None:
    from rdrop_cli.terminal.runs_tables import verified_in_all, verified_table

    if not verifications:
        screen.show(f"No runs in {safe(folder)} yet. Make one with: rdrop train --alpha 5")
        return
    screen.show(verified_table(verifications))
    for run in verifications:
        for path, fault in (run.faults or {}).items():
            screen.show(Text(safe(f"{path}: {fault}"), style="red"))
        if run.remedy:
            screen.show(Text(safe(f"  {run.remedy}")))
        for path in run.unsealed:
            if path not in (run.faults or {}):
                screen.say(f"{path}: no manifest, so it could not be checked")
        if run.outcome == "in use":
            screen.say(f"{run.run}: skipped, as it is being written now", style="yellow")
    screen.show(Text(verified_in_all(verifications), style="bold"))
