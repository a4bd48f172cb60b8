"""`rdrop predict`: classify texts."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from rdrop_cli import processes
from rdrop_cli.commands import help_pages, options
from rdrop_cli.terminal.console import Screen, count, json_text, safe
from rdrop_cli.threads import choose as choose_threads

if TYPE_CHECKING:
    from rdrop_cli.core.inference.classifier import Classifier
    from rdrop_cli.core.inference.inputs import Inputs
    from rdrop_cli.core.inference.prediction import Prediction
    from rdrop_cli.core.runs.checkpoint import Checkpoint
    from rdrop_cli.terminal.stages import Stages

EXAMPLES = """[bold]Examples[/]
rdrop predict "great movie"                      [dim]# with the newest run[/]
rdrop predict "so-so" --checkpoint runs/NAME --json
rdrop predict --input reviews.csv --output labelled.jsonl
cat lines.txt | rdrop predict --input - --output out.csv
rdrop predict --input - --output -               [dim]# answers each line of jsonl[/]
"""
STREAM = "-"
"""Standard input or output in place of a file."""
SHOWN_CLASSES = 10
"""Of the classes that were predicted."""


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
    input_: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--input",
            "-i",
            metavar="FILE|-",
            help="csv, tsv, jsonl, json, txt or parquet; - reads stdin.",
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
    text_column: options.TextColumnOption = None,
    text_pair_column: options.TextPairColumnOption = None,
    backend: options.BackendOption = None,
    device: options.DeviceOption = None,
    precision: options.PrecisionOption = None,
    batch_size: options.BatchOption = None,
    threads: options.ThreadsOption = None,
    trust_remote_code: options.TrustRemoteCodeOption = False,
    output: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|-",
            help="jsonl, csv, tsv (also .gz) or parquet; replaced if it exists. - writes jsonl to stdout.",
            rich_help_panel=help_pages.OUTPUT,
        ),
    ] = None,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Classify texts, with a probability for every class."""
    from rdrop_cli.core.data.columns import ColumnNames
    from rdrop_cli.core.inference.inputs import Inputs
    from rdrop_cli.core.inference.settings import parse_backend, parse_device, parse_precision
    from rdrop_cli.core.runs.checkpoint import find_checkpoint, newest_finished

    choose_threads(threads)
    _check_usage(texts, input_, output, json_output)
    serves = input_ == output == STREAM
    runs_on, wanted, place = parse_backend(backend), parse_precision(precision), parse_device(device)
    chosen = newest_finished(verify=False) if checkpoint is None else find_checkpoint(checkpoint, verify=False)
    file = _checked(output, input_) if output not in (None, STREAM) else None
    columns = {"named": ColumnNames(text_column, text_pair=text_pair_column), "defaults": chosen.columns}
    rows = Inputs(texts or None, input_, input_format=input_format or ("jsonl" if serves else None), **columns)
    rows.check(wait=not serves)
    screen = Screen(json_output=json_output, quiet=quiet, to_stderr=input_ is not None or output == STREAM)
    _warn_of_files(screen, texts or [])

    from rdrop_cli.core.inference import prediction

    many = input_ not in (None, STREAM)
    running = {"backend": runs_on, "precision": wanted, "device": place, "batch_size": batch_size, "many_texts": many}
    classifier = _load(screen, chosen, **running, trust_remote_code=trust_remote_code)
    predictions = prediction.predict(classifier, rows)
    if not processes.is_main_process():
        deque(predictions, maxlen=0)  # its share of the work; the main process writes
        return
    names = classifier.labels.names
    if serves:
        counts = _serve(screen, classifier, rows)
    else:
        with screen.stages() as stages:
            if input_ is not None:
                predictions = _counted(predictions, stages)
            if output is not None:
                counts = _write(predictions, file, names)
            else:
                _print(screen, predictions, classifier, f"Predictions of {chosen.name}" if input_ is None else None)
    _show_inputs(screen, rows)
    if output is not None:
        _show_written(screen, file, counts, classifier)


def _check_usage(texts: list[str] | None, input_: str | None, output: str | None, json_output: bool) -> None:
    if bool(texts) == (input_ is not None):
        raise typer.BadParameter("give either TEXT or --input FILE (--input - reads stdin)")
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

    for text in texts:
        if format_of(Path(text)) and Path(text).is_file():
            screen.say(f"{text} is taken as text; to classify the rows of that file: --input {text}", style="yellow")


def _load(screen: Screen, checkpoint: Checkpoint, **settings: Any) -> Classifier:
    """The checkpoint's classifier.

    Args:
        settings: For `open_classifier`.
    """
    from rdrop_cli.core.inference.backends.choice import open_classifier

    with screen.stages() as stages:
        return open_classifier(
            checkpoint,
            set_threads=True,
            notice=lambda text: screen.say(text, style="yellow"),
            on_progress=stages.update,
            **settings,
        )


def _counted(predictions: Iterable[Prediction], stages: Stages) -> Iterator[Prediction]:
    done = 0
    for done, item in enumerate(predictions, start=1):
        yield item
        if done % 256 == 0:
            stages.update("Classifying", done, None)
    stages.update("Classifying", done, done)


def _write(predictions: Iterable[Prediction], file: Path | None, labels: tuple[str, ...]) -> Counter[str]:
    """Write predictions, and count those of each class that has any.

    Args:
        file: Where to; None: lines of JSON on stdout.
    """
    from rdrop_cli.core.inference.writers import open_writer

    counts: Counter[str] = Counter()
    with open_writer(file, labels) if file is not None else nullcontext(_write_line) as write:
        for item in predictions:
            write(item)
            counts[item.label] += 1
    return counts


def _write_line(prediction: Prediction) -> None:
    sys.stdout.write(json_text(prediction.as_dict()) + "\n")


def _serve(screen: Screen, classifier: Classifier, rows: Inputs) -> Counter[str]:
    """Answer the rows of stdin as they come, until there are no more; count the predictions of each class."""
    from rdrop_cli.core.inference.prediction import CHUNK, predict_batch
    from rdrop_cli.core.inference.stream import as_they_come

    screen.say("Ready: reading lines from stdin", style="dim")
    counts: Counter[str] = Counter()
    for batch in as_they_come(rows, CHUNK):
        counts += _write(predict_batch(classifier, batch), None, classifier.labels.names)
        sys.stdout.flush()
    return counts


def _print_json(predictions: Iterable[Prediction], backend: str) -> None:
    """One document, written as it comes."""
    sys.stdout.write(f'{{"backend": {json_text(backend)}, "predictions": [')
    try:
        for index, item in enumerate(predictions):
            sys.stdout.write((", " if index else "") + json_text(item.as_dict()))
    finally:  # a document also where reading fails half-way, which the exit code tells
        sys.stdout.write("]}\n")


def _print(screen: Screen, predictions: Iterable[Prediction], classifier: Classifier, title: str | None) -> None:
    """Print predictions.

    Args:
        title: Of a table; None: a line each, as they come.
    """
    if screen.json_output:
        _print_json(predictions, classifier.backend.name)
    elif title is not None:
        _print_table(screen, list(predictions), classifier.labels.names, f"{title} ({classifier.backend.name})")
    else:
        for item in predictions:
            sys.stdout.write(f"{safe(item.label)}\t{item.score:.4f}\t{safe(item.text)}\n")


def _print_table(screen: Screen, predictions: list[Prediction], labels: tuple[str, ...], title: str) -> None:
    from rdrop_cli.terminal.class_tables import predictions_table

    shown, has_all = predictions_table([(item.text, item.probabilities) for item in predictions], labels, screen.fits)
    screen.show(shown, title=title)
    if not has_all:
        screen.say(f"The probabilities of all {len(labels):,} classes: --json, or --output FILE")


def _show_inputs(screen: Screen, rows: Inputs) -> None:
    from rdrop_cli.core.data.columns import in_words

    if rows.columns is not None:
        screen.say(f"Columns: {in_words(rows.columns.as_dict())}")
    if rows.problems:
        screen.say(f"{count(rows.problems, 'row')} with problems; the first: {rows.first_problem}", style="yellow")


def _show_written(screen: Screen, file: Path | None, counts: Counter[str], classifier: Classifier) -> None:
    labels, backend = classifier.labels.names, classifier.backend.name
    names = labels if len(labels) <= SHOWN_CLASSES else [name for name, _ in counts.most_common(SHOWN_CLASSES)]
    summary = ", ".join(f"{name}: {counts[name]:,}" for name in names)
    if len(counts) > len(names):
        summary += f" and {len(counts) - len(names):,} more classes"
    screen.say(f"{count(sum(counts.values()), 'prediction')} in {file or 'stdout'} ({backend}): {summary}")
    if screen.json_output:
        total = sum(counts.values())
        screen.document({"output": str(file), "count": total, "labels": dict(counts), "backend": backend})
