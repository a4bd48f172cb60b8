"""What must be said of prepared data: what was inferred about it, what was left out, and what looks like a mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.data import left_out
from rdrop_cli.core.data.dataset import REJECTED
from rdrop_cli.wording import listed

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.schema import Config


def check_rejects(data: Prepared, config: Config) -> None:
    """Refuse data in which too many rows cannot be used, unless the configuration allows it.

    Raises:
        DataError: more than 1 % of a split's rows were rejected.
    """
    listed_in = str(data.folder / REJECTED) if data.folder else None
    omissions = left_out.record(data.report)
    left_out.check_share(omissions, config.data.source, allow=config.data.allow_rejects, listed_in=listed_in)


def data_notes(data: Prepared) -> list[str]:
    """One sentence for everything that was inferred about the data or left out of it."""
    return [*label_notes(data.report), *left_out.sentences(left_out.record(data.report))]


def label_notes(report: Mapping[str, Any]) -> list[str]:
    """What was inferred about the labels, and what looks like a mistake in them."""
    inferred = [note] if (note := report.get("label_note")) else []
    return inferred + _single_example_classes(report)


def _single_example_classes(report: Mapping[str, Any]) -> list[str]:
    """A warning about classes with one training example and none elsewhere, as a mistyped label gives."""
    train, *others = report.get("classes", {"train": {}}).values()
    rare = [name for name, count in train.items() if count == 1 and not any(split.get(name) for split in others)]
    if not rare:
        return []
    shown = listed([f"'{name}'" for name in rare], 5)
    which = "Class" if len(rare) == 1 else "Classes"
    return [f"{which} with a single example: {shown}. If that is a typing mistake: --label-map '{rare[0]}=CLASS'"]
