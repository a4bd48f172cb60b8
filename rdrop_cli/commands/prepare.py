"""`rdrop prepare`: read, check, split and tokenize labelled text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from rdrop_cli.commands import help_pages, options
from rdrop_cli.terminal.console import Screen, safe
from rdrop_cli.wording import count

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.schema import DataConfig

EXAMPLES = """[bold]Examples[/]
rdrop prepare                                    [dim]# built-in movie reviews[/]
rdrop prepare reviews.csv --label-column stars   [dim]# your own file[/]
rdrop prepare imdb --max-length 256              [dim]# what does 256 cut off?[/]
rdrop prepare aclImdb --out prepared/imdb        [dim]# folders pos/ and neg/[/]
"""


def prepare(
    source: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            metavar="SOURCE",
            help="A built-in name (rotten-tomatoes, imdb), file, folder or hub id. Default: rotten-tomatoes.",
        ),
    ] = None,
    model: options.ModelOption = None,
    max_length: options.MaxLengthOption = None,
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    text_column: options.TextColumnOption = None,
    label_column: options.LabelColumnOption = None,
    text_pair_column: options.TextPairColumnOption = None,
    validation: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="SHARE", help="Share of the rows to validate with.", rich_help_panel=help_pages.DATA),
    ] = None,
    test: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="SHARE", help="Share of the rows to test with.", rich_help_panel=help_pages.DATA),
    ] = None,
    train_examples: options.TrainExamplesOption = None,
    label_map: options.LabelMapOption = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse data with unusable rows.", rich_help_panel=help_pages.DATA),
    ] = False,
    no_strict: Annotated[bool, typer.Option("--no-strict", hidden=True)] = False,  # the default, once an option
    out: options.OutOption = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace other prepared data in --out.", rich_help_panel=help_pages.OUTPUT),
    ] = False,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Read, check, split and tokenize labelled text, and describe it."""
    given = dict(locals())  # the arguments, before there are other names
    from rdrop_cli.config import load_config
    from rdrop_cli.core.data.columns import in_words
    from rdrop_cli.core.data.prepare import prepare_data, tokenize_splits
    from rdrop_cli.core.model.locate import fetch_model, locate_model
    from rdrop_cli.core.model.tokenizer import load_tokenizer
    from rdrop_cli.core.runs.resolve import check_data
    from rdrop_cli.core.storage.files import user_path

    resolved = load_config(config, options.overrides(given, set_))
    out = user_path(out) if out is not None else None
    screen = Screen(json_output=json_output, quiet=quiet)
    name = locate_model(resolved.model, resolved.hub)
    resolved = check_data(resolved)
    with screen.stages() as stages:
        data = prepare_data(resolved, out=out, strict=strict, overwrite=overwrite, on_progress=stages.update)
        tokenizer = load_tokenizer(
            fetch_model(name, resolved.model.revision, stages.update),
            max_length=resolved.model.max_length,
            trust_remote_code=resolved.model.trust_remote_code,
        )
        data = tokenize_splits(data, resolved, tokenizer, on_progress=stages.update)
    assert data.folder is not None, "prepare saves what it returns"
    screen.say(f"Columns: {in_words(data.columns)}")
    _show(screen, data, resolved.data)
    if "validation" in data.splits:
        again = {"--config": config, "--model": model, "--max-length": max_length}
        screen.say(f"Next: {_next_command(data, again, set_ or [])}", style="bold", to_copy=True)
    else:
        screen.say("Training needs a validation split, which chooses the best epoch", style="yellow")
    if json_output:
        screen.document(_document(data))


def _next_command(data: Prepared, flags: Mapping[str, object], assignments: list[str]) -> str:
    """How to train on what was prepared, with what was said of the model."""
    from rdrop_cli.core.data import left_out
    from rdrop_cli.core.storage import shell

    again = [part for name, value in flags.items() if value is not None for part in (name, str(value))]
    again += [part for text in assignments if not text.startswith("data.") for part in ("--set", text)]
    again += ["--allow-rejects"] if left_out.is_too_much(left_out.record(data.report)) else []
    return shell.join(["rdrop", "train", str(data.folder), *again, "--alpha", "5"])


def _document(data: Prepared) -> dict[str, Any]:
    return {
        "prepared": str(data.folder),
        "fingerprint": data.fingerprint,
        "labels": list(data.labels.names),
        "columns": data.columns,
        "splits": {split: len(examples) for split, examples in data.splits.items()},
        "report": data.report,
    }


def _show(screen: Screen, data: Prepared, settings: DataConfig) -> None:
    from rdrop_cli.core.data import left_out
    from rdrop_cli.core.data.audit import rare_class_advice
    from rdrop_cli.core.data.notes import label_notes, token_notes
    from rdrop_cli.terminal.class_tables import class_table
    from rdrop_cli.terminal.tables import data_table

    report, folder = data.report, Path(str(data.folder))
    screen.show(data_table(report), title="Data")
    title, classes = class_table(report)
    screen.show(classes, title=title)
    kept = ", case and spacing aside; repeats are kept in one split" if report["repeats"] else ""
    screen.say(f"Repeats of an earlier text: {count(report['repeats'], 'row')}{kept}")
    if report["conflicts"]:
        screen.say(f"With more than one label: {count(report['conflicts'], 'text')}", style="yellow")
    crossing = report["crossing"]
    dropped = f"; dropped because they were in two: {count(crossing, 'row')}, none from test" if crossing else ""
    screen.say(f"No text is in two splits{dropped}")
    if not_used := report.get("not_used"):
        screen.say(f"Left out of train: {count(not_used, 'example')}, as a sample was asked for")
    advice = rare_class_advice(report["classes"]["train"])
    for note in [*label_notes(report), *token_notes(report), *([advice] if advice else [])]:
        screen.say(note, style="yellow")
    omissions = left_out.record(report)
    for sentence in left_out.sentences({**omissions, "rejected": {}, "crossing": 0}):
        screen.say(sentence, style="yellow")
    for split in ("validation", "test"):
        if split not in report["classes"]:
            reason = "no class is large enough" if getattr(settings, split) else "its share is 0"
            screen.say(f"There is no {split} split: {reason}", style="yellow")
    _show_rejected(screen, data.rejected, folder / "rejected.jsonl", is_too_much=left_out.is_too_much(omissions))
    screen.say(f"Prepared in {folder}")


def _show_rejected(screen: Screen, rejected: list[dict[str, Any]], listed_in: Path, *, is_too_much: bool) -> None:
    if not rejected:
        screen.say("No rows were rejected")
        return
    screen.say(f"Rejected: {count(len(rejected), 'row')}, all listed in {listed_in}:", style="yellow")
    for row in rejected[:5]:
        screen.say(f"  {safe(row['file'])}, line {row['line']}: {row['reason']}")
    if len(rejected) > 5:
        screen.say(f"  and {len(rejected) - 5:,} more")
    if is_too_much:
        screen.say("That is more than 1 % of a split: rdrop train asks for --allow-rejects", style="yellow")
