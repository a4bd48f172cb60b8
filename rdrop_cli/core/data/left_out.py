"""Rows that were left out of data: counted, described in sentences, and refused if there are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rdrop_cli.errors import DataError

LIMIT = 0.01
"""Share of a split's rows that may be unusable without `--allow-rejects`."""
_REASONS = 3


def by_reason(reasons: Iterable[str]) -> dict[str, int]:
    """The count of each reason, the most frequent first."""
    return dict(Counter(reasons).most_common())


def record(report: Mapping[str, Any]) -> dict[str, Any]:
    """The rows that were left out, in the form of a run's records and of `--json`.

    Args:
        report: The report of prepared data; reports of earlier versions have fewer keys.

    Returns:
        rows: by split; rejected: by split, then by reason; unlabelled: rows of splits without labels; crossing: rows
        dropped because their text is also in another split; passed_over: files and splits of the source not used.
    """
    return {
        "rows": report.get("rows", {}),
        "rejected": report.get("left_out", {"all": report["reasons"]} if report.get("reasons") else {}),
        "unlabelled": report.get("unlabelled", {}),
        "crossing": report.get("crossing", 0),
        "passed_over": report.get("passed_over", []),
    }


def sentences(omissions: Mapping[str, Any]) -> list[str]:
    """One sentence for each kind of omission; none if nothing was left out.

    Args:
        omissions: As `record` gives it; empty if an earlier version recorded nothing.
    """
    sentences = []
    for split, reasons in omissions.get("rejected", {}).items():
        if reasons:
            rows = omissions["rows"].get(split)
            of = f" of {rows:,} rows" if rows else " rows"
            where = "" if split == "all" else f" of {split}"
            sentences.append(f"Left out{where}: {sum(reasons.values()):,}{of} ({listed(reasons)})")
    for split, rows in omissions.get("unlabelled", {}).items():
        sentences.append(f"The {split} split was left out: none of its {rows:,} rows has a label")
    if omissions.get("crossing"):
        sentences.append(
            f"Dropped from train or validation: {omissions['crossing']:,} rows whose text is also in test or validation"
        )
    if omissions.get("passed_over"):
        sentences.append(f"Not used: {', '.join(omissions['passed_over'])}")
    return sentences


def listed(reasons: Mapping[str, int]) -> str:
    """The most frequent reasons with their counts, and the sum of the others."""
    parts = [f"{reason}: {count:,}" for reason, count in list(reasons.items())[:_REASONS]]
    rest = sum(list(reasons.values())[_REASONS:])
    return "; ".join(parts) + (f"; other reasons: {rest:,}" if rest else "")


def check_share(omissions: Mapping[str, Any], where: str, *, allow: bool = False, listed_in: str | None = None) -> None:
    """Refuse data in which too many rows cannot be used.

    Args:
        omissions: As `record` gives it.
        where: Name of the data, for the message.
        allow: The user gave `--allow-rejects`.
        listed_in: The file that lists every such row, for the message.

    Raises:
        DataError: more than `LIMIT` of a split's rows are unusable.
    """
    if allow:
        return
    for split, reasons in omissions["rejected"].items():
        check_rows(where if split == "all" else f"{where}, {split}", reasons, omissions["rows"].get(split), listed_in)


def is_too_much(omissions: Mapping[str, Any]) -> bool:
    """True where `check_share` would refuse."""
    try:
        check_share(omissions, "")
    except DataError:
        return True
    return False


def check_rows(where: str, reasons: Mapping[str, int], rows: int | None, listed_in: str | None = None) -> None:
    """Like `check_share`, for one split.

    Args:
        rows: How many rows it has in all; None: unknown, and then nothing is refused.
    """
    unusable = sum(reasons.values())
    if rows and unusable > LIMIT * rows:
        every = f" (all listed in {listed_in})" if listed_in else ""
        raise DataError(
            f"{where}: {unusable:,} of {rows:,} rows ({unusable / rows:.0%}) cannot be used: {listed(reasons)}{every}",
            "Correct these rows, or leave them out with --allow-rejects.",
        )
