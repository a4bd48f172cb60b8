"""What `rdrop predict` says of many files when it has predicted them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rdrop_cli.commands import predictions
from rdrop_cli.errors import DataError
from rdrop_cli.terminal.console import Screen
from rdrop_cli.wording import count, listed

if TYPE_CHECKING:
    from rdrop_cli.commands.prediction_parts import PartsRequest
    from rdrop_cli.core.inference.part_prediction import Outcome

_NAMED = 10
"""Unreadable parts that the last line names; each has had a line of its own."""


def show(screen: Screen, many: PartsRequest, outcomes: list[Outcome], settings: dict[str, Any] | None) -> None:
    """Say what all finished parts of the share have; with `--json` this is the document."""
    from rdrop_cli.core.data.columns import in_words

    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    labels = sum((Counter(record.labels) for record in records), Counter[str]())
    total, problems = sum(record.rows for record in records), sum(record.problems for record in records)
    for columns in {in_words(record.columns): None for record in records if record.columns}:
        screen.say(f"Columns: {columns}")
    if problems:
        first = next(record.first_problem for record in records if record.problems)
        screen.say(f"{count(problems, 'row')} with problems; the first: {first}", style="yellow")
    tally = predictions.Tally(many.reading.abstain_below)
    tally.labels, tally.without = labels, sum(record.without_label for record in records)
    predictions.show_tally(screen, tally)
    if settings is not None:
        made = f"{count(total, 'prediction')} of {count(len(records), 'part')} in {many.parts.output}"
        screen.say(f"{made} ({settings['backend']}): {predictions.summary_of(labels, settings['labels'])}")
    if screen.json_output:
        screen.document(_document(many, outcomes, tally, settings, problems))


def _document(
    many: PartsRequest,
    outcomes: list[Outcome],
    tally: predictions.Tally,
    settings: dict[str, Any] | None,
    problems: int,
) -> dict[str, Any]:
    known = settings or {}
    threshold = {} if known.get("threshold") is None else {"threshold": known["threshold"]}
    in_order = sorted(outcomes, key=lambda outcome: _natural(outcome.part.name))
    return {
        "output": str(many.parts.output),
        "shard": None if many.shard is None else str(many.shard),
        "count": tally.total,
        "problems": problems,
        "labels": dict(tally.labels),
        "backend": known.get("backend"),
        **threshold,
        **predictions.without_label(tally),
        "failed": sum(outcome.record is None for outcome in outcomes),
        "parts": [_entry(outcome) for outcome in in_order],
    }


def _entry(outcome: Outcome) -> dict[str, Any]:
    """A part in the JSON document."""
    entry = {"name": outcome.part.name, "output": str(outcome.part.target), "bytes": outcome.part.size}
    if outcome.record is None:
        return {**entry, "status": "failed", "error": outcome.error}
    record = outcome.record
    status = "finished before" if outcome.was_finished else "predicted"
    return {**entry, "status": status, "count": record.rows, "problems": record.problems, "labels": dict(record.labels)}


def fail(outcomes: list[Outcome]) -> None:
    """End the command with an error that names the parts without predictions, if there are any.

    Raises:
        DataError: there are.
    """
    failed = sorted((outcome.part.name for outcome in outcomes if outcome.record is None), key=_natural)
    if not failed:
        return
    raise DataError(
        f"{len(failed):,} of {count(len(outcomes), 'part')} could not be predicted: {listed(failed, _NAMED)}",
        "The others are finished; correct these, and give the same command again.",
    )


def _natural(name: str) -> Any:
    """The sort key of a part's name."""
    from rdrop_cli.core.inference.parts import natural

    return natural(name)
