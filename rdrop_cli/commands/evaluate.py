"""`rdrop evaluate`: measure a checkpoint on labelled text."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from rdrop_cli.commands import options
from rdrop_cli.terminal.console import Screen, count
from rdrop_cli.threads import choose as choose_threads

if TYPE_CHECKING:
    from rdrop_cli.core.inference.classifier import Classifier
    from rdrop_cli.core.inference.evaluation import Evaluation
    from rdrop_cli.core.inference.examples import Examples
    from rdrop_cli.core.inference.seen import Seen
    from rdrop_cli.core.metrics.bootstrap import Interval
    from rdrop_cli.core.metrics.head_to_head import HeadToHead
    from rdrop_cli.core.runs.checkpoint import Checkpoint

EXAMPLES = """[bold]Examples[/]

rdrop evaluate runs/NAME  [dim]# the test split of what it was trained on[/]

rdrop evaluate NAME --split validation  [dim]# a run under runs/, by name[/]

rdrop evaluate runs/NAME reviews.csv  [dim]# any labelled file, whole[/]

rdrop evaluate runs/NAME --against runs/OTHER  [dim]# which is better on the same examples?[/]

rdrop evaluate runs/NAME reviews.csv --json  [dim]# for a script[/]
"""


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="A run or checkpoint folder, a run's name, or a hub id.")],
    data: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="Labelled data, as for `rdrop prepare`. Default: what the run was trained on."),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Which split; data without splits is taken whole.", rich_help_panel=options.DATA_PANEL)
    ] = "test",
    text_column: options.TextColumnOption = None,
    label_column: options.LabelColumnOption = None,
    text_pair_column: options.TextPairColumnOption = None,
    label_map: options.LabelMapOption = None,
    allow_rejects: options.AllowRejectsOption = None,
    positive_label: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="The class that F1 is about. Default: the one with id 1."),
    ] = None,
    against: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="CHECKPOINT", help="Compare with another checkpoint on the same examples."),
    ] = None,
    precision: options.PrecisionOption = None,
    device: options.DeviceOption = None,
    batch_size: options.BatchOption = None,
    threads: options.ThreadsOption = None,
    trust_remote_code: options.TrustRemoteCodeOption = False,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Measure a checkpoint: accuracy, F1, ROC-AUC and more, with 95 % intervals."""
    from rdrop_cli.config import parse_device, parse_precision
    from rdrop_cli.core.data.columns import ColumnNames
    from rdrop_cli.core.data.label_column import parse_label_map
    from rdrop_cli.core.inference.examples import examples_of_run, examples_of_source
    from rdrop_cli.core.runs.checkpoint import find_checkpoint, trained_on_the_same
    from rdrop_cli.schema import HubConfig

    choose_threads(threads)
    if data is None and any((text_column, label_column, text_pair_column, label_map)):
        raise typer.BadParameter("column options and --label-map are for DATA; the run's own data has its columns")
    renaming = parse_label_map(label_map) if label_map is not None else None
    wanted, place = parse_precision(precision), parse_device(device)
    found = find_checkpoint(checkpoint)
    other = find_checkpoint(against) if against is not None else None
    screen = Screen(json_output=json_output, quiet=quiet)
    with screen.stages() as stages:
        if data is None:
            labelled = examples_of_run(found, split, stages.update)
        else:
            labelled = examples_of_source(
                data,
                split,
                named=ColumnNames(text_column, label_column, text_pair_column),
                checkpoint=found,
                hub_config=HubConfig(),
                allow_rejects=bool(allow_rejects),
                on_progress=stages.update,
            )
        from rdrop_cli.core.inference import evaluation
        from rdrop_cli.core.inference.classifier import Classifier
        from rdrop_cli.core.inference.seen import count_seen
        from rdrop_cli.core.metrics import bootstrap
        from rdrop_cli.core.metrics.head_to_head import head_to_head
        from rdrop_cli.core.metrics.predictions import Predictions
        from rdrop_cli.core.model.torch_threads import limit as limit_threads

        limit_threads()

        def load(checkpoint: Checkpoint) -> Classifier:
            return Classifier(
                checkpoint,
                precision=wanted,
                device=place,
                batch_size=batch_size,
                trust_remote_code=trust_remote_code,
                notice=lambda text: screen.say(text, style="yellow"),
                on_progress=stages.update,
            )

        classifier = load(found)
        if other is not None:
            rival = load(other)
            order = evaluation.class_order(rival.labels, classifier.labels, other.name)
        result = evaluation.evaluate(
            classifier,
            labelled,
            positive_label=positive_label,
            label_map=renaming,
            label_ids=found.label_ids if data is not None else None,
            on_progress=stages.update,
        )
        models = [result.predictions]
        if other is not None:
            theirs = evaluation.classify(rival, labelled, stages.update, f" with {other.name}")
            models.append(Predictions(result.predictions.labels, theirs[:, order]))
        drawn = bootstrap.resample(
            models,
            positive=result.positive,
            on_progress=lambda done, total: stages.update("Resampling", done, total),
        )
        intervals = {name: bootstrap.interval(values[0]) for name, values in drawn.items()}
        compared = None
        if other is not None:
            compared = head_to_head(models[0], models[1], drawn, positive=result.positive)
    asked = [found] if data is not None else []  # its own test split is known to be one
    known = {each.name: count_seen(each, labelled) for each in (*asked, *([other] if other is not None else []))}
    for name, counts in known.items():
        _show_seen(screen, name, counts, len(labelled.texts))
    _show(screen, found.name, labelled, result, intervals)
    if compared is not None and other is not None:
        _show_comparison(screen, (found.name, other.name), compared)
        same_data = trained_on_the_same(found, other)
        if data is None and not same_data and known[other.name] is None:
            screen.say(
                f"{other.name} was not trained on the same split: it may have seen these examples", style="yellow"
            )
    if json_output:
        document: dict[str, Any] = {
            "checkpoint": found.name,
            "data": labelled.name,
            "split": labelled.split,
            "examples": result.metrics["examples"],
            "metrics": result.metrics,
            "intervals": {name: [bounds.low, bounds.high] for name, bounds in intervals.items()},
            "confusion_matrix": result.confusion_matrix,
            "labels": list(result.labels),
            "positive_label": result.labels[result.positive] if len(result.labels) == 2 else None,
            "rejected": len(labelled.rejected),
            "left_out": dict(labelled.left_out),
            "columns": dict(labelled.columns),
            "precision": classifier.precision,
        }
        if data is not None:
            document["seen"] = _as_dict(known[found.name])
        if compared is not None and other is not None:
            document["against"] = {
                "checkpoint": other.name,
                "same_data": same_data,
                "seen": _as_dict(known[other.name]),
                **compared.as_dict(),
            }
        screen.document(document)


def _show_seen(screen: Screen, name: str, counts: Seen | None, examples: int) -> None:
    """Say of a checkpoint that these examples are no test of it."""
    if counts is None or not (counts.train or counts.validation):
        return
    chosen = f", and its best epoch chosen on {counts.validation:,}" if counts.validation else ""
    screen.say(
        f"{name} was trained on {counts.train:,} of these {examples:,} texts{chosen}: this is no test of it",
        style="yellow",
    )


def _as_dict(counts: Seen | None) -> dict[str, int] | None:
    return None if counts is None else asdict(counts)


def _show_comparison(screen: Screen, names: tuple[str, str], compared: HeadToHead) -> None:
    from rdrop_cli.terminal.tables import gaps_table

    screen.show(gaps_table(compared), title=f"{names[0]} (A) against {names[1]} (B), the same examples")
    if any(gap.p_value is None for gap in compared.gaps.values()):
        screen.say("Where the bootstrap's intervals are too narrow, it gives no p-value", style="yellow")
    test = compared.mcnemar
    screen.say(
        f"Only A is right on {count(test.only_first, 'example')}, only B on {test.only_second:,}. p: McNemar's exact"
        " test for accuracy, paired bootstrap for the others; not corrected for their number"
    )
    screen.say("This is about two checkpoints; whether a way of training is better takes seeds: rdrop compare")


def _show(
    screen: Screen, checkpoint: str, labelled: Examples, result: Evaluation, intervals: dict[str, Interval]
) -> None:
    from rdrop_cli.core.data.columns import in_words
    from rdrop_cli.core.data.left_out import listed
    from rdrop_cli.core.metrics.bootstrap import weakness
    from rdrop_cli.core.metrics.classification import average_of
    from rdrop_cli.terminal.tables import MANY_CLASSES, confusion_table, metrics_table, per_class_table

    title = f"{checkpoint} on {labelled.name}; F1, precision, recall: {average_of(result.labels, result.positive)}"
    screen.show(metrics_table({labelled.split: result.metrics}, intervals), title=title)
    if weak := weakness([result.predictions]):
        screen.say(f"The intervals are too narrow: {weak}", style="yellow")
    for name, reason in result.metrics["undefined"].items():
        screen.say(f"{name} is undefined: {reason}", style="yellow")
    screen.show(per_class_table(result.labels, result.metrics["per_class"]), title="Classes")
    if len(result.labels) <= MANY_CLASSES:
        screen.show(confusion_table(result.labels, result.confusion_matrix), title="Confusion matrix")
    screen.say(f"Columns: {in_words(labelled.columns)}")
    if result.label_note:
        screen.say(result.label_note)
    if labelled.left_out:
        left = f"Left out: {count(sum(labelled.left_out.values()), 'row')} ({listed(labelled.left_out)})"
        if labelled.rejected:
            first = labelled.rejected[0]
            left += f"; the first: {first['file']}, line {first['line']}"
        screen.say(left, style="yellow")
