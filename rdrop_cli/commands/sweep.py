"""`rdrop sweep`: which settings are good, found on validation, and whether that holds on test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from rdrop_cli import processes
from rdrop_cli.commands import help_pages, options
from rdrop_cli.large_imports import large_imports
from rdrop_cli.terminal.console import Screen
from rdrop_cli.threads import set_thread_limits
from rdrop_cli.wording import count

if TYPE_CHECKING:
    from pathlib import Path

    from rdrop_cli.core.executors.base import Executor
    from rdrop_cli.core.sweep.plan import SweepPlan
    from rdrop_cli.core.sweep.runner import SweepResult

EXAMPLES = """[bold]Examples[/]
rdrop sweep reviews.csv --trials 20              [dim]# alpha, dropout, lr, ...[/]
rdrop sweep reviews.csv --trials 20 --confirm 5  [dim]# against tuned plain[/]
rdrop sweep reviews.csv --budget 2h              [dim]# as many as that allows[/]
rdrop sweep --space alpha=0.1..20:log --space epochs=1..4 --trials 12
rdrop sweep --trials 20 --dry-run                [dim]# what would vary?[/]
rdrop sweep --trials 20 --on local:4             [dim]# four runs at a time[/]
"""
_TRIALS = 20


def sweep(
    data: options.DataArgument = None,
    space: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="KEY=RANGE",
            help="KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C. Repeatable; `default` adds the default ones.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = None,
    trials: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            metavar="N",
            help="Sets of values to try. Default: 20, or as many as --budget allows.",
            callback=help_pages.between(1, 10_000),
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = None,
    budget: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="TIME",
            help="A search begins no new trial after so much training, e.g. 2h or 90m.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = None,
    seeds_per_trial: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Runs for each trial, with the same seeds for all.",
            callback=help_pages.between(1, 100),
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = 5,
    confirm: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Then tune plain fine-tuning as much, and compare both winners on test with N fresh seeds.",
            callback=help_pages.between(0, 1000),
            show_default=False,
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = 0,
    alpha: options.AlphaOption = None,
    epochs: options.EpochsOption = None,
    model: options.ModelOption = None,
    max_length: options.MaxLengthOption = None,
    seed: options.SeedOption = None,
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything and show the space.", rich_help_panel=help_pages.EVERYDAY),
    ] = False,
    text_column: options.TextColumnOption = None,
    label_column: options.LabelColumnOption = None,
    text_pair_column: options.TextPairColumnOption = None,
    train_examples: options.TrainExamplesOption = None,
    label_map: options.LabelMapOption = None,
    allow_rejects: options.AllowRejectsOption = None,
    batch_size: options.TrainBatchOption = None,
    lr: options.LearningRateOption = None,
    label_smoothing: options.LabelSmoothingOption = None,
    device: options.DeviceOption = None,
    precision: options.PrecisionOption = None,
    threads: options.ThreadsOption = None,
    on: options.OnOption = None,
    cpus_per_run: options.CpusPerRunOption = 1,
    gpus_per_run: options.GpusPerRunOption = None,
    out: options.OutOption = None,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Search for good settings on validation.

    Each trial is trained with several seeds, and given up after four if it is worse than the best one. The search
    reads validation only; --confirm compares on test.

    After an interruption the same command resumes. With more --trials the search continues.
    """
    given = dict(locals())  # the arguments, before there are other names
    from rdrop_cli.commands.compare import ALL_EPOCHS
    from rdrop_cli.config import load_config
    from rdrop_cli.core.storage.files import user_path
    from rdrop_cli.core.sweep.plan import parse_duration, plan_sweep

    set_thread_limits(threads)
    if processes.world_size() > 1:
        raise typer.BadParameter("sweep trains in one process; run it without a launcher")
    seconds = parse_duration(budget) if budget is not None else None
    plan = plan_sweep(
        load_config(config, [ALL_EPOCHS, *options.overrides(given, set_)]),
        space or [],
        trials=trials or (_TRIALS if seconds is None else None),
        seconds=seconds,
        seeds=seeds_per_trial,
        confirm=confirm,
        folder=user_path(out) if out is not None else None,
    )
    screen = Screen(json_output=json_output, quiet=quiet)
    if dry_run:
        _show_plan(screen, plan)
    else:
        with large_imports():
            from rdrop_cli.core.executors.choice import make_executor

            executor = make_executor(on, cpus_per_run=cpus_per_run, gpus_per_run=gpus_per_run)
        _run(screen, plan, executor)


def _show_plan(screen: Screen, plan: SweepPlan) -> None:
    from rdrop_cli.core.sweep.results import short_name
    from rdrop_cli.terminal.console import add_row, table

    for search in plan.searches:
        shown = table("key", "values", names=(0, 1))
        for key, dimension in search.space.items():
            add_row(shown, short_name(key), str(dimension))
        screen.show(shown, title=f"Search {search.name}")
    how_many = count(plan.trials, "trial") if plan.trials else "Trials until the time is over"
    screen.show(f"{how_many}, {count(len(plan.seeds), 'run')} each; judged by validation {plan.metric}")
    if screen.json_output:
        screen.document(_plan_document(plan))


def _plan_document(plan: SweepPlan) -> dict[str, Any]:
    return {
        "dry_run": True,
        "sweep": str(plan.folder),
        "trials": plan.trials,
        "seeds": list(plan.seeds),
        "searches": {
            search.name: {key: str(dimension) for key, dimension in search.space.items()} for search in plan.searches
        },
    }


def _run(screen: Screen, plan: SweepPlan, executor: Executor) -> None:
    from rdrop_cli.core.sweep import results, runner
    from rdrop_cli.core.sweep.observer import SweepObserver
    from rdrop_cli.terminal.comparison_view import comparison_observer
    from rdrop_cli.terminal.sweep_view import SweepView

    with screen.stages() as stages:
        observer = SweepObserver() if screen.quiet else SweepView(screen, stages, plan.metric)
        with comparison_observer(screen, stages) as confirming:
            result = runner.sweep(plan, observer, confirming, executor)
        files = results.write_results(result)
    _show(screen, result, files)
    if screen.json_output:
        screen.document(results.as_document(result))


def _show(screen: Screen, result: SweepResult, files: list[Path]) -> None:
    from rdrop_cli.commands import compare
    from rdrop_cli.core.storage import shell
    from rdrop_cli.core.sweep.results import recipe_path
    from rdrop_cli.terminal.sweep_view import described, trial_table

    plan = result.plan
    for search_result in result.searches:
        shown = trial_table(search_result, plan.metric, maximizes=plan.maximizes)
        screen.show(
            shown, title=f"Search {search_result.search.name}: the best of {count(len(search_result.trials), 'trial')}"
        )
        if search_result.best is not None:
            screen.say(
                f"Best of {search_result.search.name}: trial {search_result.best.number + 1}:"
                f" {described(search_result.best.values)}"
            )
    screen.say("A winner's validation score is too good, since it was chosen for it", style="yellow")
    if result.comparison is not None:
        compare.show_result(screen, result.comparison)
    screen.say(f"Results: {plan.folder}: {', '.join(path.name for path in files)}")
    best = result.searches[-1]
    if result.comparison is None and best.config is not None:
        command = shell.join(["rdrop", "train", "--config", str(recipe_path(plan.folder, best))])
        screen.say(f"Next: {command}", style="bold", to_copy=True)
