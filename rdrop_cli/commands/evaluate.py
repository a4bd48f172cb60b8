"""`rdrop evaluate`: measure a checkpoint on labelled text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from rdrop_cli.commands import help_pages, options
from rdrop_cli.commands.decisions import show_decisions
from rdrop_cli.terminal.console import Screen
from rdrop_cli.threads import set_thread_limits
from rdrop_cli.wording import count

if TYPE_CHECKING:
    from rdrop_cli.core.inference.evaluation import Evaluation, Rival
    from rdrop_cli.core.inference.examples import Examples

EXAMPLES = """[bold]Examples[/]
rdrop evaluate runs/NAME                         [dim]# test split of its own data[/]
rdrop evaluate NAME --split validation           [dim]# a run in runs/, by name[/]
rdrop evaluate runs/NAME reviews.csv             [dim]# any labelled file[/]
rdrop evaluate runs/NAME --against runs/OTHER    [dim]# which of the two is better?[/]
rdrop evaluate NAME --choose-threshold recall=0.9 --save-threshold
rdrop evaluate runs/NAME reviews.csv --json      [dim]# for a script[/]
"""


def evaluate(
    checkpoint: Annotated[
        str,
        typer.Argument(metavar="CHECKPOINT", help="A run or checkpoint folder, the name of a run, or a hub id."),
    ],
    data: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            metavar="DATA",
            help="Labelled data, as for `rdrop prepare`. Default: the data of the run.",
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Which split; data without splits is used whole.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = "test",
    against: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="CHECKPOINT",
            help="Compare with another checkpoint on the same examples.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = None,
    choose_threshold: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="RULE",
            help="f1, precision=P, recall=R or none: a threshold for the positive class, chosen on validation.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = None,
    save_threshold: Annotated[
        bool,
        typer.Option(
            "--save-threshold",
            help="Save that threshold with the run, for `rdrop predict`; of none, remove it.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = False,
    coverage: Annotated[
        bool,
        typer.Option(
            "--coverage",
            help="Show accuracy where the least confident texts get no label.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = False,
    text_column: options.TextColumnOption = None,
    label_column: options.LabelColumnOption = None,
    text_pair_column: options.TextPairColumnOption = None,
    label_map: options.LabelMapOption = None,
    allow_rejects: options.AllowRejectsOption = None,
    positive_label: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="NAME",
            help="The class F1 is about. Default: the one with id 1.",
            rich_help_panel=help_pages.DATA,
        ),
    ] = None,
    backend: options.BackendOfEvaluateOption = None,
    device: options.DeviceOption = None,
    precision: options.PrecisionOption = None,
    batch_size: options.BatchOption = None,
    threads: options.ThreadsOption = None,
    trust_remote_code: options.TrustRemoteCodeOption = False,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Measure a trained model on labelled text, with 95 % intervals."""
    from rdrop_cli.core.data.columns import ColumnNames
    from rdrop_cli.core.data.label_column import parse_label_map
    from rdrop_cli.core.inference import evaluation
    from rdrop_cli.core.inference.option_values import parse_backend, parse_device, parse_precision, parse_rule

    set_thread_limits(threads)
    if data is None and any((text_column, label_column, text_pair_column, label_map)):
        raise typer.BadParameter("column options and --label-map are for DATA; the run's own data has its columns")
    screen = Screen(json_output=json_output, quiet=quiet)
    with screen.stages() as stages:
        evaluated = evaluation.evaluate(
            checkpoint,
            data,
            split=split,
            columns=ColumnNames(text_column, label_column, text_pair_column),
            label_map=parse_label_map(label_map) if label_map else None,
            allow_rejects=bool(allow_rejects),
            positive_label=positive_label,
            against=against,
            choose_threshold=parse_rule(choose_threshold),
            save_threshold=save_threshold,
            backend=parse_backend(backend, default="torch"),
            precision=parse_precision(precision),
            device=parse_device(device),
            batch_size=batch_size,
            trust_remote_code=trust_remote_code,
            notice=lambda text: screen.say(text, style="yellow"),
            on_progress=stages.update,
        )
    _show_seen(screen, evaluated)
    _show(screen, evaluated)
    show_decisions(screen, evaluated, coverage=coverage, saves=save_threshold)
    if evaluated.rival is not None:
        _show_rival(screen, evaluated, evaluated.rival)
    if json_output:
        screen.document(evaluated.as_dict())


def _show_seen(screen: Screen, evaluated: Evaluation) -> None:
    """Say of checkpoints that these examples are no test of them."""
    known = {evaluated.name: evaluated.seen}
    if rival := evaluated.rival:
        known[rival.name] = rival.seen
    for name, counts in known.items():
        if counts is None or not (counts.train or counts.validation):
            continue
        chosen = f", and its best epoch chosen on {counts.validation:,}" if counts.validation else ""
        screen.say(
            f"{name} was trained on {counts.train:,} of these {len(evaluated.examples.texts):,} texts{chosen}:"
            " this is no test of it",
            style="yellow",
        )


def _show_rival(screen: Screen, evaluated: Evaluation, rival: Rival) -> None:
    from rdrop_cli.terminal.tables import gaps_table

    compared = rival.compared
    screen.show(gaps_table(compared), title=f"{evaluated.name} (A) against {rival.name} (B), the same examples")
    if any(gap.p_value is None for gap in compared.gaps.values()):
        screen.say("Where the bootstrap's intervals are too narrow, it gives no p-value", style="yellow")
    test = compared.mcnemar
    screen.say(
        f"Only A is right on {count(test.only_first, 'example')}, only B on {test.only_second:,}. p: McNemar's exact"
        " test for accuracy, paired bootstrap for the others; not corrected for their number"
    )
    screen.say("This compares two checkpoints; to compare ways of training takes several seeds: rdrop compare")
    if evaluated.is_own_data and not rival.same_data and rival.seen is None:
        screen.say(f"{rival.name} was not trained on the same split: it may have seen these examples", style="yellow")


def _show(screen: Screen, evaluated: Evaluation) -> None:
    from rdrop_cli.core.data.columns import in_words
    from rdrop_cli.core.metrics.bootstrap import weakness
    from rdrop_cli.core.metrics.classification import average_of
    from rdrop_cli.terminal.class_tables import confusion_table, per_class_table
    from rdrop_cli.terminal.tables import PROBABILITIES, describe_temperature, metrics_table, probabilities_table

    examples, result = evaluated.examples, evaluated.measured
    screen.say(f"Columns: {in_words(examples.columns)}")
    name = evaluated.name if evaluated.backend == "torch" else f"{evaluated.name} ({evaluated.backend})"
    title = f"{name} on {examples.name}; F1, precision, recall: {average_of(result.labels, result.positive)}"
    screen.show(metrics_table({examples.split: result.metrics}, evaluated.intervals), title=title)
    if weak := weakness([result.predictions]):
        screen.say(f"The intervals are too narrow: {weak}", style="yellow")
    for name, reason in result.metrics["undefined"].items():
        screen.say(f"{name} is undefined: {reason}", style="yellow")
    screen.show(probabilities_table({examples.split: result.metrics}), title=PROBABILITIES)
    if result.calibration is not None:
        screen.say(describe_temperature(result.calibration))
    title, classes = per_class_table(result.labels, result.metrics["per_class"])
    screen.show(classes, title=title)
    title, confusion = confusion_table(result.labels, result.confusion_matrix, screen.fits)
    screen.show(confusion, title=title)
    if result.label_note:
        screen.say(result.label_note)
    _show_left_out(screen, examples)


def _show_left_out(screen: Screen, examples: Examples) -> None:
    from rdrop_cli.core.data.left_out import listed

    if not examples.left_out:
        return
    left = f"Left out: {count(sum(examples.left_out.values()), 'row')} ({listed(examples.left_out)})"
    if examples.rejected:
        first = examples.rejected[0]
        left += f"; the first: {first['file']}, line {first['line']}"
    screen.say(left, style="yellow")
