"""`rdrop train`: fine-tune with R-Drop."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from rdrop_cli import processes
from rdrop_cli.commands import help_pages, next_steps, options
from rdrop_cli.commands.export import document_of, export_trained
from rdrop_cli.large_imports import large_imports
from rdrop_cli.terminal.console import Screen
from rdrop_cli.threads import set_thread_limits
from rdrop_cli.wording import count, duration, size

if TYPE_CHECKING:
    from rdrop_cli.core.training.result import TrainingResult
    from rdrop_cli.core.training.run import TrainingRun
    from rdrop_cli.schema import Config

EXAMPLES = """[bold]Examples[/]
rdrop train --alpha 5                 [dim]# built-in reviews, minutes on 2 cores[/]
rdrop train reviews.csv --epochs 2    [dim]# your own file[/]
rdrop train --config imdb-roberta     [dim]# needs a GPU and the model hub[/]
rdrop train --alpha 0 --seed 43       [dim]# plain fine-tuning, to compare[/]
rdrop train --resume --out runs/NAME  [dim]# resume an interrupted run[/]
"""


def train(
    data: options.DataArgument = None,
    alpha: options.AlphaOption = None,
    epochs: options.EpochsOption = None,
    model: options.ModelOption = None,
    max_length: options.MaxLengthOption = None,
    seed: options.SeedOption = None,
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume the run in --out, or the newest unfinished one.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything, time a few steps and forecast.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
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
    micro_batch: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--micro-batch",
            metavar="N|auto",
            help="Examples in each forward pass: less memory, same result. auto: halved when memory runs out.",
            rich_help_panel=help_pages.MACHINE,
        ),
    ] = None,
    micro_batch_size: Annotated[Optional[str], typer.Option("--micro-batch-size", hidden=True)] = None,  # noqa: UP045
    gradient_checkpointing: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--gradient-checkpointing",
            help="Compute activations twice: less memory, more time.",
            rich_help_panel=help_pages.MACHINE,
        ),
    ] = None,
    out: options.OutOption = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the run in --out.", rich_help_panel=help_pages.OUTPUT),
    ] = False,
    no_export: Annotated[
        bool,
        typer.Option(
            "--no-export",
            help="Do not export the finished run to ONNX, with which predictions start sooner.",
            rich_help_panel=help_pages.OUTPUT,
        ),
    ] = False,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Fine-tune a text classifier with R-Drop and measure the result."""
    given = dict(locals())  # the arguments, before there are other names
    from rdrop_cli.core.runs.claim import claim_run
    from rdrop_cli.core.runs.resolve import check_configuration, open_run
    from rdrop_cli.core.storage.files import user_path

    set_thread_limits(threads)
    _check_usage(out, resume=resume, overwrite=overwrite, dry_run=dry_run)
    out = user_path(out) if out is not None else None
    resolved, out = open_run(config, options.overrides(given, set_), out=out, resume=resume, overwrite=overwrite)
    if not resume:
        resolved = check_configuration(resolved)
    screen = Screen(json_output=json_output, quiet=quiet)
    with contextlib.ExitStack() as stack:
        run = (out or Path("runs")) if dry_run else stack.enter_context(claim_run(out, resolved))
        screen.say("Loading")

        with large_imports():
            from rdrop_cli.core.training.run import TrainingRun
            from rdrop_cli.terminal.training_view import training_observer

        stages = stack.enter_context(screen.stages())
        observer = stack.enter_context(training_observer(screen, stages))
        training = TrainingRun(resolved, run, resume=resume, overwrite=overwrite, observer=observer)
        training.set_up()
        if dry_run:
            _forecast(screen, training)
            return
        result = training.start()
    _show(screen, resolved, training, result)
    attempt = None
    if not no_export and processes.is_main_process():
        attempt = export_trained(screen, result.run, trust_remote_code=resolved.model.trust_remote_code)
    screen.say(f"Next: {next_steps.report(str(result.run))}", style="bold", to_copy=True)
    screen.say(f"Next: {_next_command(training, result)}", style="bold", to_copy=True)
    if json_output:
        screen.document({**_document(resolved, training, result), **document_of(attempt)})


def _check_usage(out: Path | None, *, resume: bool, overwrite: bool, dry_run: bool) -> None:
    if resume and overwrite:
        raise typer.BadParameter("--resume continues a run, --overwrite replaces it")
    if overwrite and out is None:
        raise typer.BadParameter("--overwrite is for the run in --out")
    if dry_run and processes.world_size() > 1:
        raise typer.BadParameter("--dry-run times one process; run it without a launcher")


def _document(config: Config, training: TrainingRun, result: TrainingResult) -> dict[str, Any]:
    from rdrop_cli.core.data import left_out

    return {
        "run_dir": str(result.run),
        "checkpoint": str(result.checkpoint),
        "metrics": result.metrics,
        "train": {
            "seconds": result.seconds,
            "examples_per_second": result.examples_per_second,
            "steps": result.steps,
            "planned_steps": result.planned_steps,
            "resumed_from_step": result.first_step or None,
        },
        "alpha": config.rdrop.alpha,
        "seed": config.train.seed,
        "columns": training.data.columns,
        "labels": list(training.data.labels.names),
        "left_out": left_out.record(training.data.report),
    }


def _show(screen: Screen, config: Config, training: TrainingRun, result: TrainingResult) -> None:
    from rdrop_cli.core.metrics.classification import average_of
    from rdrop_cli.terminal.tables import PROBABILITIES, describe_temperature, metrics_table, probabilities_table

    labels = training.data.labels.names
    title = f"Best epoch {result.best_epoch:g} (by validation {config.train.metric}); F1: {average_of(labels)}"
    screen.show(metrics_table(result.metrics), title=title)
    screen.show(probabilities_table(result.metrics), title=PROBABILITIES)
    if result.calibration is not None and result.calibration.reason is None:  # else a notice has said why
        screen.say(describe_temperature(result.calibration))
    examples = len(training.data.splits["train"])
    if result.metrics["train"]["examples"] < examples:
        screen.say(f"train: a sample of {result.metrics['train']['examples']:,} of its {examples:,} examples")
    _show_undefined(screen, result)
    done = result.steps - result.first_step
    resumed = f" (step {result.first_step + 1:,} to {result.steps:,})" if result.first_step and done else ""
    rate = f", {result.examples_per_second:.0f} examples/s" if done else ""
    screen.say(f"Trained {count(done, 'step')}{resumed} in {duration(result.seconds)}{rate}")
    _show_early_stop(screen, config, result)
    screen.say(f"Run folder: {result.run}")


def _show_early_stop(screen: Screen, config: Config, result: TrainingResult) -> None:
    if result.stopped_early:
        metric, stopping = config.train.metric, config.train.early_stopping
        screen.say(
            f"Stopped early, at step {result.steps:,} of {result.planned_steps:,}: validation {metric} had not improved"
            f" by {stopping.threshold:g} in {count(stopping.patience, 'epoch')} (train.early_stopping)",
            style="yellow",
        )


def _show_undefined(screen: Screen, result: TrainingResult) -> None:
    """Name the metrics that are undefined, each reason once."""
    from rdrop_cli.core.metrics.classification import TITLES

    undefined: dict[tuple[str, str], list[str]] = {}
    for split, metrics in result.metrics.items():
        for why in metrics["undefined"].items():
            undefined.setdefault(why, []).append(split)
    for (name, reason), splits in undefined.items():
        screen.say(f"{TITLES[name]} is undefined on {', '.join(splits)}: {reason}", style="yellow")


def _next_command(training: TrainingRun, result: TrainingResult) -> str:
    from rdrop_cli.commands.next_steps import prediction
    from rdrop_cli.core.storage import shell

    if training.data.columns["text_pair"]:
        return shell.join(["rdrop", "evaluate", str(result.run)])
    return prediction(str(result.run), training.data.labels.names, has_pairs=False)


def _forecast(screen: Screen, training: TrainingRun) -> None:
    from rdrop_cli.core.training.forecast import forecast
    from rdrop_cli.terminal.descriptions import say_plan

    say_plan(screen, training.set_up().plan())
    estimate = forecast(training)
    shown: dict[str, Any] = {
        "dry_run": True,
        "steps": estimate.steps,
        "seconds_per_step": estimate.seconds_per_step,
        "seconds": estimate.seconds,
        "peak_memory_bytes": estimate.peak_memory,
        "disk_bytes": estimate.disk,
    }
    screen.say(f"Everything checks out. {estimate.timed_steps} steps were timed; no run was made.")
    screen.show(
        f"Forecast: {duration(estimate.seconds)} for {estimate.steps:,} steps of {estimate.seconds_per_step:.2f} s"
        f" and {training.config.train.epochs} evaluations;"
        f" memory {size(estimate.peak_memory)}, disk {size(estimate.disk)}"
    )
    if screen.json_output:
        screen.document(shown)
