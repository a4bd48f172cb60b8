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

_MANY_UNKNOWN = 0.05
"""Share of unknown tokens from which on the model is probably one for another language."""
_MISSING = {"nan", "null", "n/a", "<na>"}
"""Labels, in lower case, that other software writes where there is none."""


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
    return [*label_notes(data.report), *token_notes(data.report), *left_out.sentences(left_out.record(data.report))]


def label_notes(report: Mapping[str, Any]) -> list[str]:
    """What was inferred about the labels, and what looks like a mistake in them."""
    inferred = [note] if (note := report.get("label_note")) else []
    return [
        *inferred,
        *_single_example_classes(report),
        *_alike_but_for_case(report),
        *_like_missing_labels(report),
        *_without_a_class(report),
    ]


def token_notes(report: Mapping[str, Any]) -> list[str]:
    """A warning about texts that the tokenizer cannot read, such as those in a script that its model has not seen."""
    share = report.get("tokens", {}).get("splits", {}).get("train", {}).get("unknown", 0.0)
    if share < _MANY_UNKNOWN:
        return []
    return [
        f"{share:.0%} of the tokens in train are unknown to the tokenizer, so the model cannot tell them apart:"
        " choose one for this language with --model"
    ]


def _single_example_classes(report: Mapping[str, Any]) -> list[str]:
    """A warning about classes with one training example and none elsewhere, as a mistyped label gives."""
    train, *others = report.get("classes", {"train": {}}).values()
    rare = [name for name, count in train.items() if count == 1 and not any(split.get(name) for split in others)]
    if not rare:
        return []
    shown = listed([f"'{name}'" for name in rare], 5)
    which = "Class" if len(rare) == 1 else "Classes"
    return [f"{which} with a single example: {shown}. If that is a typing mistake: --label-map '{rare[0]}=CLASS'"]


def _alike_but_for_case(report: Mapping[str, Any]) -> list[str]:
    """A warning about classes that differ only in case; the most frequent spelling is proposed."""
    train = report.get("classes", {}).get("train", {})
    spellings: dict[str, list[str]] = {}
    for name in sorted(train, key=train.__getitem__, reverse=True):
        spellings.setdefault(name.casefold(), []).append(name)
    renamed = {other: names[0] for names in spellings.values() for other in names[1:]}
    if not renamed:
        return []
    shown = listed([f"'{other}' and '{name}'" for other, name in renamed.items()], 5)
    option = ",".join(f"{other}={name}" for other, name in renamed.items())
    return [f"Classes that differ only in case: {shown}. If they are one: --label-map '{option}'"]


def _like_missing_labels(report: Mapping[str, Any]) -> list[str]:
    names = [name for name in report.get("classes", {}).get("train", {}) if name.casefold() in _MISSING]
    if not names:
        return []
    shown = listed([f"'{name}'" for name in names], 5)
    verb = "looks like a missing label" if len(names) == 1 else "look like missing labels"
    return [f"{shown} {verb}. If so, remove these rows, or leave the field empty: empty ones are left out"]


def _without_a_class(report: Mapping[str, Any]) -> list[str]:
    """A warning about each other split that has no example of a class of which train has several."""
    train, *others = report.get("classes", {"train": {}}).items()
    notes = []
    for split, counts in others:
        absent = [f"'{name}'" for name, number in train[1].items() if number > 1 and not counts.get(name)]
        if absent and any(counts.values()):
            notes.append(f"{split} has no example of {listed(absent, 5)}, so its metrics say nothing of these")
    return notes
