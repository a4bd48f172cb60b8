"""How `rdrop predict` gives out predictions: files, lines, a table, one JSON document; and what it says of them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.terminal.console import Screen, json_text, safe
from rdrop_cli.wording import count

if TYPE_CHECKING:
    from rdrop_cli.core.inference.classifier import Classifier
    from rdrop_cli.core.inference.inputs import Inputs
    from rdrop_cli.core.inference.prediction import Prediction
    from rdrop_cli.terminal.stages import Stages

SHOWN_CLASSES = 10
"""Of the classes that were predicted."""


class Tally:
    """Counts predictions as they pass.

    Args:
        abstain_below: The score below which no label was to be given; None: each has one.

    Attributes:
        labels: How many have each label.
        without: How many have none.
    """

    def __init__(self, abstain_below: float | None = None) -> None:
        self.abstain_below = abstain_below
        self.labels: Counter[str] = Counter()
        self.without = 0

    @property
    def total(self) -> int:
        """How many have passed."""
        return self.labels.total() + self.without

    def of(self, predictions: Iterable[Prediction], stages: Stages | None = None) -> Iterator[Prediction]:
        """The predictions, which are counted.

        Args:
            stages: Shows how many there were so far; None: nothing is shown.
        """
        for item in predictions:
            yield item
            if item.label is None:
                self.without += 1
            else:
                self.labels[item.label] += 1
            if stages is not None and self.total % 256 == 0:
                stages.update("Classifying", self.total, None)
        if stages is not None:
            stages.update("Classifying", self.total, self.total)


def write(predictions: Iterable[Prediction], file: Path | None, labels: tuple[str, ...]) -> None:
    """Write predictions.

    Args:
        file: Where to; None: lines of JSON on stdout.
        labels: The names of the classes.
    """
    from rdrop_cli.core.inference.writers import open_writer

    with open_writer(file, labels) if file is not None else nullcontext(_write_line) as write_one:
        for item in predictions:
            write_one(item)


def _write_line(prediction: Prediction) -> None:
    sys.stdout.write(json_text(prediction.as_dict()) + "\n")


def show(
    screen: Screen, predictions: Iterable[Prediction], classifier: Classifier, title: str | None, tally: Tally
) -> None:
    """Print predictions on stdout.

    Args:
        title: Of a table; None: a line each, as they come.
        tally: Counts them.
    """
    if screen.json_output:
        _print_json(predictions, classifier, tally)
    elif title is not None:
        _print_table(screen, list(predictions), classifier.labels.names, f"{title} ({classifier.backend.name})")
    else:
        for item in predictions:
            sys.stdout.write(f"{safe(item.label or '')}\t{item.score:.4f}\t{safe(item.text)}\n")


def _print_json(predictions: Iterable[Prediction], classifier: Classifier, tally: Tally) -> None:
    """One document, written as it comes."""
    head = {"backend": classifier.backend.name, **_threshold_of(classifier)}
    sys.stdout.write(f'{json_text(head)[:-1]}, "predictions": [')
    try:
        for index, item in enumerate(predictions):
            sys.stdout.write((", " if index else "") + json_text(item.as_dict()))
    finally:  # a document also where reading fails half-way, which the exit code tells
        tail = json_text(without_label(tally))[1:-1]
        sys.stdout.write(f"]{', ' if tail else ''}{tail}}}\n")


def _print_table(screen: Screen, predictions: list[Prediction], labels: tuple[str, ...], title: str) -> None:
    from rdrop_cli.terminal.class_tables import predictions_table

    rows = [(item.text, item.label, item.score, item.probabilities) for item in predictions]
    shown, has_all = predictions_table(rows, labels, screen.fits)
    screen.show(shown, title=title)
    if not has_all:
        screen.say(f"The probabilities of all {len(labels):,} classes: --json, or --output FILE")


def show_inputs(screen: Screen, rows: Inputs) -> None:
    """Say which columns were read, and what was wrong with rows."""
    from rdrop_cli.core.data.columns import in_words

    if rows.columns is not None:
        screen.say(f"Columns: {in_words(rows.columns.as_dict())}")
    if rows.problems:
        screen.say(f"{count(rows.problems, 'row')} with problems; the first: {rows.first_problem}", style="yellow")


def show_tally(screen: Screen, tally: Tally) -> None:
    """Say how many texts got no label, if any was to get none."""
    if tally.abstain_below is not None:
        screen.say(
            f"{tally.without:,} of {count(tally.total, 'text')} got no label (below {tally.abstain_below})",
            style="yellow" if tally.without else None,
        )


def show_written(screen: Screen, file: Path | None, tally: Tally, classifier: Classifier, problems: int) -> None:
    """Say what was written; with `--json` this is the document.

    Args:
        file: Where to; None: stdout.
        problems: The number of rows without a usable text.
    """
    counts, backend = tally.labels, classifier.backend.name
    summary = summary_of(counts, classifier.labels.names)
    screen.say(f"{count(tally.total, 'prediction')} in {file or 'stdout'} ({backend}): {summary}")
    if screen.json_output:
        document = {"output": str(file), "count": tally.total, "labels": dict(counts), "backend": backend}
        document["problems"] = problems
        screen.document({**document, **_threshold_of(classifier), **without_label(tally)})


def summary_of(counts: Counter[str], labels: Sequence[str]) -> str:
    """How many predictions each class has, in words.

    Args:
        labels: The names of the classes.
    """
    names = labels if len(labels) <= SHOWN_CLASSES else [name for name, _ in counts.most_common(SHOWN_CLASSES)]
    summary = ", ".join(f"{name}: {counts[name]:,}" for name in names)
    if len(counts) > len(names):
        summary += f" and {len(counts) - len(names):,} more classes"
    return summary


def _threshold_of(classifier: Classifier) -> dict[str, Any]:
    """A part of JSON documents, where there is a threshold."""
    return {} if classifier.threshold is None else {"threshold": classifier.threshold.as_dict()}


def without_label(tally: Tally) -> dict[str, Any]:
    """A part of JSON documents, where texts were to be left without a label."""
    return {} if tally.abstain_below is None else {"abstain_below": tally.abstain_below, "without_label": tally.without}
