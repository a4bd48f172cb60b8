"""`rdrop predict`: classify texts."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from rdrop_cli import processes
from rdrop_cli.commands import help_pages, options, prediction_options, prediction_parts, predictions
from rdrop_cli.terminal.console import Screen
from rdrop_cli.threads import set_thread_limits

if TYPE_CHECKING:
    from rdrop_cli.core.inference.classifier import Classifier
    from rdrop_cli.core.inference.inputs import Inputs
    from rdrop_cli.core.inference.load_options import LoadOptions
    from rdrop_cli.core.runs.checkpoint import Checkpoint

EXAMPLES = """[bold]Examples[/]
rdrop predict "great movie"                      [dim]# with the newest run[/]
rdrop predict "so-so" --checkpoint runs/NAME --json
rdrop predict --input reviews.csv --output labelled.jsonl
cat lines.txt | rdrop predict --input - --output out.csv
rdrop predict --input - --output -               [dim]# answers each line of jsonl[/]
rdrop predict --input new.csv --output out.csv --abstain-below 0.8
rdrop predict --input 'parts/*.parquet' --output out/ --on ray
"""
STREAM = "-"
"""Standard input or output in place of a file."""


def predict(
    texts: Annotated[Optional[list[str]], typer.Argument(metavar="TEXT", help="Texts to classify.")] = None,  # noqa: UP045
    checkpoint: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="CHECKPOINT",
            help="A run or checkpoint folder, the name of a run, or a hub id. Default: the newest finished run.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = None,
    inputs: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--input",
            "-i",
            metavar="FILE|-",
            help="csv, tsv, jsonl, json, txt or parquet; - reads stdin. Many: a folder, or a quoted pattern.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = None,
    threshold: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="P|none",
            help="Predict the positive one of two classes from probability P on. Default: what the run has saved.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = None,
    abstain_below: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            metavar="P",
            help="Give no label whose probability is below P.",
            callback=help_pages.inside(0, 1),
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = None,
    input_format: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="NAME",
            help="Format of the input. Default: by suffix; stdin: txt, or jsonl with --output -.",
            rich_help_panel=help_pages.DATA,
        ),
    ] = None,
    shard: prediction_options.ShardOption = None,
    text_column: options.TextColumnOption = None,
    text_pair_column: options.TextPairColumnOption = None,
    backend: options.BackendOption = None,
    device: options.DeviceOption = None,
    precision: options.PrecisionOption = None,
    batch_size: options.BatchOption = None,
    threads: options.ThreadsOption = None,
    on: prediction_options.OnOption = None,
    cpus_per_worker: prediction_options.CpusPerWorkerOption = None,
    gpus_per_worker: prediction_options.GpusPerWorkerOption = None,
    trust_remote_code: options.TrustRemoteCodeOption = False,
    output: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|-",
            help="jsonl, csv, tsv (also .gz) or parquet; replaced if it exists. Many: a folder. - is jsonl to stdout.",
            rich_help_panel=help_pages.OUTPUT,
        ),
    ] = None,
    overwrite: prediction_options.OverwriteOption = False,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Classify texts, with a probability for every class."""
    from rdrop_cli.core.data.columns import ColumnNames
    from rdrop_cli.core.inference import option_values
    from rdrop_cli.core.inference.inputs import Inputs
    from rdrop_cli.core.inference.load_options import LoadOptions
    from rdrop_cli.core.inference.part_prediction import PartReading
    from rdrop_cli.core.runs.checkpoint import find_checkpoint, newest_finished

    set_thread_limits(threads)
    input_ = _only(inputs or [])
    _check_usage(texts, input_, output, json_output)
    load_options = LoadOptions(
        option_values.parse_backend(backend, "auto"),
        option_values.parse_precision(precision),
        option_values.parse_device(device),
        batch_size,
        trust_remote_code,
        many_texts=input_ not in (None, STREAM),
        threshold=option_values.parse_threshold(threshold),
    )
    chosen = newest_finished(verify=False) if checkpoint is None else find_checkpoint(checkpoint, verify=False)
    named = ColumnNames(text_column, text_pair=text_pair_column)
    screen = Screen(json_output=json_output, quiet=quiet, to_stderr=input_ is not None or output == STREAM)
    if remark := chosen.remark:
        screen.say(remark, style="yellow")
    if input_ is not None and prediction_parts.is_many(input_):
        cluster = prediction_parts.choose_cluster(on, cpus_per_worker, gpus_per_worker)
        parts, share = prediction_parts.choose(input_, output, input_format, shard)
        reading = PartReading(input_format, named, chosen.columns, abstain_below)
        many = prediction_parts.PartsRequest(chosen, load_options, reading, parts, share, overwrite, cluster)
        prediction_parts.predict_many(screen, many)
    else:
        prediction_parts.refuse_options(
            shard=shard, overwrite=overwrite, on=on, cpus_per_worker=cpus_per_worker, gpus_per_worker=gpus_per_worker
        )
        serves = input_ == output == STREAM
        columns = {"named": named, "defaults": chosen.columns}
        rows = Inputs(texts or None, input_, input_format=input_format or ("jsonl" if serves else None), **columns)
        _predict_one(screen, chosen, load_options, rows, output, abstain_below)


def _predict_one(
    screen: Screen,
    chosen: Checkpoint,
    load_options: LoadOptions,
    rows: Inputs,
    output: str | None,
    abstain_below: float | None,
) -> None:
    """Classify texts, or the rows of one file or of stdin."""
    source = rows.source if rows.texts is None else None
    serves = source == output == STREAM
    file = _checked(output, source) if output not in (None, STREAM) else None
    rows.check(wait=not serves)
    _warn_of_files(screen, rows.texts or [])
    classifier = _load(screen, chosen, load_options)
    tally = predictions.Tally(abstain_below)
    if serves:
        _serve(screen, classifier, rows, tally)
    else:
        title = f"Predictions of {chosen.name}" if source is None else None
        _predict(screen, classifier, rows, tally, title=title, file=file, to_output=output is not None)
    if not processes.is_main_process():
        return
    predictions.show_inputs(screen, rows)
    predictions.show_tally(screen, tally)
    if output is not None:
        predictions.show_written(screen, file, tally, classifier, rows.problems)


def _only(inputs: list[str]) -> str | None:
    if len(inputs) > 1:
        raise typer.BadParameter("--input appears twice; for many files give a folder, or a pattern in quotes")
    return inputs[0] if inputs else None


def _check_usage(texts: list[str] | None, input_: str | None, output: str | None, json_output: bool) -> None:
    if bool(texts) == (input_ is not None):
        expanded = input_ is not None and all(map(os.path.isfile, texts or []))
        hint = "; the shell has expanded a pattern: put it in quotes" if expanded else ""
        raise typer.BadParameter(f"give either TEXT or --input FILE (--input - reads stdin){hint}")
    if input_ == STREAM and processes.world_size() > 1:
        raise typer.BadParameter("several processes cannot share stdin; give --input a file")
    if output == STREAM and json_output:
        raise typer.BadParameter("--output - and --json both write to stdout; omit one")


def _checked(output: str, source: str | None) -> Path:
    """Where the predictions go, known to be a place for them."""
    from rdrop_cli.core.inference.writers import check_output
    from rdrop_cli.core.storage.files import user_path

    file = user_path(output)
    check_output(file)
    read = user_path(source) if source is not None else None
    if read is not None and read.is_file() and file.exists() and file.samefile(read):
        raise typer.BadParameter("--output is the --input file; predictions would replace the data")
    return file


def _warn_of_files(screen: Screen, texts: Iterable[str]) -> None:
    from rdrop_cli.core.data.readers import format_of

    for text in filter(os.path.isfile, texts):  # Path.is_file raises for a long text
        if format_of(Path(text)):
            screen.say(f"{text} is taken as text; to classify the rows of that file: --input {text}", style="yellow")


def _load(screen: Screen, checkpoint: Checkpoint, load_options: LoadOptions) -> Classifier:
    """The checkpoint's classifier; its threshold is said."""
    with screen.stages() as stages:
        classifier = load_options.open(
            checkpoint, notice=lambda text: screen.say(text, style="yellow"), on_progress=stages.update
        )
    if classifier.threshold is not None:
        screen.say(str(classifier.threshold))
    return classifier


def _predict(
    screen: Screen,
    classifier: Classifier,
    rows: Inputs,
    tally: predictions.Tally,
    *,
    title: str | None,
    file: Path | None,
    to_output: bool,
) -> None:
    """Classify all rows, and write or show the predictions.

    Args:
        title: Of a table of texts that were typed; None: the rows come from an input.
        file: Where to write.
        to_output: Write to the file, or to stdout if there is none; False: show them.
    """
    from rdrop_cli.core.inference.prediction import predict as classify

    classified_rows = classify(classifier, rows, abstain_below=tally.abstain_below)
    if not processes.is_main_process():
        deque(classified_rows, maxlen=0)  # its share of the work; the main process writes
        return
    with screen.stages() as stages:
        counted = tally.of(classified_rows, stages if title is None else None)
        if to_output:
            predictions.write(counted, file, classifier.labels.names)
        else:
            predictions.show(screen, counted, classifier, title, tally)


def _serve(screen: Screen, classifier: Classifier, rows: Inputs, tally: predictions.Tally) -> None:
    """Answer the rows of stdin as they come, until there are no more."""
    from rdrop_cli.core.inference.prediction import CHUNK, predict_batch
    from rdrop_cli.core.inference.stream import as_they_come

    screen.say("Ready: reading lines from stdin", style="dim")
    for batch in as_they_come(rows, CHUNK):
        classified_rows = predict_batch(classifier, batch, abstain_below=tally.abstain_below)
        predictions.write(tally.of(classified_rows), None, classifier.labels.names)
        sys.stdout.flush()
