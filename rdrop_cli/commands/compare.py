"""`rdrop compare`: did R-Drop help, by how much, and can it be believed?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer
from rich.text import Text

from rdrop_cli import processes
from rdrop_cli.commands import help_pages, next_steps, options
from rdrop_cli.large_imports import large_imports
from rdrop_cli.terminal.console import Screen, safe
from rdrop_cli.threads import set_thread_limits
from rdrop_cli.wording import count, listed

if TYPE_CHECKING:
    from rdrop_cli.core.comparison.runner import ComparisonResult

EXAMPLES = """[bold]Examples[/]
rdrop compare reviews.csv                        [dim]# four arms, 5 seeds each[/]
rdrop compare reviews.csv --seeds 10             [dim]# trains only what is new[/]
rdrop compare --budget compute                   [dim]# as many passes for all[/]
rdrop compare reviews.csv --dry-run              [dim]# how long would it take?[/]
rdrop compare --arms rdrop+smoothing --arm strong:rdrop.alpha=10  [dim]# alpha only[/]
"""

ALL_EPOCHS = ("train.early_stopping.patience", 0)
"""Arms train as long as their budget says, unless `--set` says otherwise; the best epoch is chosen all the same."""
LEGEND = (
    "95 % over seeds: paired t interval on these test examples; p: paired t-test",
    "95 % over examples: bootstrap interval for these trained models",
    "p Holm: corrected within its family: the chosen metric; NLL and Brier, raw and calibrated; the other metrics",
    "calibrated: after a temperature for each run, fitted on validation; ECE: in 15 bins of equal size, not tested",
    "needed: seeds needed to detect a change of this size; time: median training time of a run",
)


def compare(
    data: options.DataArgument = None,
    arms: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="plain, smoothing, rdrop, rdrop+smoothing (default); also two-pass, dropout, ema, r3f. Baseline: the"
            " first.",
            show_default=False,
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = "plain,smoothing,rdrop,rdrop+smoothing",
    arm: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="NAME:KEY=VALUE,...",
            help="An arm of your own, e.g. strong:rdrop.alpha=10. Repeatable.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Seeds for each arm, counting from --seed.",
            callback=help_pages.between(1, 1000),
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = 5,
    budget: Annotated[
        Literal["steps", "compute"],
        typer.Option(
            metavar="steps|compute",
            help="steps (default): the same for all arms. compute: arms with fewer passes train more epochs.",
            show_default=False,
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = "steps",
    alpha: options.AlphaOption = None,
    epochs: options.EpochsOption = None,
    model: options.ModelOption = None,
    max_length: options.MaxLengthOption = None,
    seed: options.SeedOption = None,
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything and forecast the time.", rich_help_panel=help_pages.EVERYDAY),
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
    """Compare R-Drop with plain fine-tuning on several seeds.

    The best epoch of each run is chosen on the validation split; the test split is used once for each run.

    After an interruption the same command resumes. With more seeds or arms, only the new runs are trained.
    """
    given = dict(locals())  # the arguments, before there are other names
    from rdrop_cli.config import load_config
    from rdrop_cli.core.comparison.grid import make_grid
    from rdrop_cli.core.storage.files import user_path

    set_thread_limits(threads)
    if processes.world_size() > 1:
        raise typer.BadParameter("compare trains in one process; run it without a launcher")
    grid = make_grid(
        load_config(config, [ALL_EPOCHS, *options.overrides(given, set_)]),
        [name.strip() for name in arms.split(",") if name.strip()],
        arm or [],
        seeds=seeds,
        budget=budget,
        folder=user_path(out) if out is not None else None,
    )
    screen = Screen(json_output=json_output, quiet=quiet)

    with large_imports():
        from rdrop_cli.core.comparison import runner
        from rdrop_cli.core.executors.choice import make_executor
        from rdrop_cli.terminal.comparison_plan import describe_plan
        from rdrop_cli.terminal.comparison_view import comparison_observer

        executor = make_executor(on, cpus_per_run=cpus_per_run, gpus_per_run=gpus_per_run)
    with screen.stages() as stages, comparison_observer(screen, stages) as observer:
        if dry_run:
            plan = runner.plan_comparison(grid, observer, executor)
        else:
            result = runner.compare(grid, observer, executor)
    if dry_run:
        for line in describe_plan(plan, grid.cells):
            screen.show(line)
    else:
        show_result(screen, result)
    if json_output:
        screen.document(plan.as_dict(len(grid.cells)) if dry_run else result.document)


def show_result(screen: Screen, result: ComparisonResult) -> None:
    """Show a comparison's tables, verdict, cautions and files."""
    from rdrop_cli.core.comparison.summary import what_is_equal
    from rdrop_cli.terminal.comparison_plan import describe_disagreement
    from rdrop_cli.terminal.tables import calibration_table, difference_table, ensemble_table, summary_table

    document, files = result.document, result.files
    seeds, examples = len(document["seeds"]), document["data"]["splits"]["test"]
    spread = f"means ± standard deviations of {count(seeds, 'seed')}" if seeds > 1 else "one seed"
    title = f"Test, {examples:,} examples, {spread}; F1: {document['f1_average']}"
    screen.show(summary_table(document["arms"]), title=title)
    screen.show(calibration_table(document["arms"]), title="Calibration on test, raw and at the runs' temperatures")
    if ensembles := document["ensembles"]:
        screen.show(ensemble_table(ensembles), title=f"The mean probabilities of each arm's {seeds} runs, on test")
        screen.show(describe_disagreement(ensembles))
    for arm in list(document["arms"])[1:]:
        rows = [gap for gap in document["differences"] if gap["arm"] == arm]
        screen.show(difference_table(rows), title=f"{arm} against {document['baseline']}")
    for line in LEGEND:
        screen.say(line)
    screen.say(what_is_equal(document))
    for sentence in document["verdict"]:
        screen.show(Text(safe(sentence), style="bold"))
    for caution in document["cautions"]:
        screen.show(Text(safe(caution), style="yellow"))
    if others := result.others:
        screen.say(f"Also trained here, but not compared now: {listed(others, 5)}", style="yellow")
    screen.say(f"Results: {files[0].parent}: {', '.join(path.name for path in files)}")
    if files[-1].suffix != ".png":
        screen.say("For a picture: pip install matplotlib, and the same command again (nothing is trained again)")
    screen.say(f"Next: {next_steps.report(document['comparison'])}", style="bold", to_copy=True)
