"""What the labels of a column mean: class names, ids counted from 0 or from 1, or names given by a user's map.

All labels of a column are considered at once, never row by row: a single row does not show whether 1 is the first or
the second class.

A label becomes a class in three steps, each of which may change nothing. Of a hub data set whose ids 0 and 1 are called
neg and pos, with the `label_map` pos=good:

1. the source's own name of the label: 1 is pos;
2. the name that `label_map` gives it: pos is good;
3. the class of that name. Where all labels are still numbers and no class is one, as in a file with `data.label_names`,
   it is the class of that number, counted from 0 or from 1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from rdrop_cli.core.data.labels import LabelMap, is_whole_number
from rdrop_cli.errors import DataError

_SHOWN = 10
_PLACEHOLDER = re.compile(r"LABEL_\d+")
"""Names that transformers gives to unnamed classes."""


@dataclass(frozen=True)
class LabelReading:
    """How a column's labels are read.

    Attributes:
        labels: The classes.
        classes: The name of the class for each label in the data; a label that is not in it is unknown.
        note: How the labels were interpreted, in one sentence; None: they are the class names.
    """

    labels: LabelMap
    classes: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None

    @cached_property
    def ids(self) -> dict[str, int]:
        """The class id of each known label."""
        ids = {name: index for index, name in enumerate(self.labels.names)}
        return {label: ids[name] for label, name in self.classes.items()}

    @property
    def label_ids(self) -> dict[str, str]:
        """The name of the class for each label that is not itself that name."""
        return {label: name for label, name in self.classes.items() if label != name}


def read_training_labels(
    train: Sequence[str],
    elsewhere: Collection[str] = (),
    *,
    names: Sequence[str] | None = None,
    names_of_ids: Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    positive: str | None = None,
) -> LabelReading:
    """Determine the classes of training data, and how its labels are read.

    Args:
        train: The label of each training row, canonical.
        elsewhere: Labels of the other splits, canonical.
        names: The user's names of the classes in the order of their ids; None: taken from the data.
        names_of_ids: The source's own names of its ids, which count from 0.
        label_map: The class for some labels; a key is a label, or the source's name of it.
        positive: The class that becomes the second of two.

    Raises:
        DataError: no classes, labels that do not fit the names, or a map or positive class that does not occur.
    """
    names_by_id, renaming = tuple(names_of_ids), dict(label_map or {})
    if names and names_by_id and len(names) == len(names_by_id) and not set(names) & set(names_by_id):
        names_by_id = tuple(names)  # new names for the source's ids, in their order
    source_names = _own_names({*train, *elsewhere}, names_by_id)
    _check_map(renaming, source_names)
    wanted = {label: renaming.get(label, renaming.get(name, name)) for label, name in source_names.items()}
    target = tuple(names or dict.fromkeys(renaming.get(name, name) for name in names_by_id))
    labels = LabelMap(target) if target else LabelMap.from_values([wanted[label] for label in train])
    labels = _with_positive(labels, positive)
    classes, note = _resolve(wanted, LabelMap(target) if target else labels)
    return LabelReading(labels, classes, note)


def read_labels_as(
    labels: LabelMap,
    data_labels: Collection[str],
    *,
    names_of_ids: Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    label_ids: Mapping[str, str] | None = None,
    where: str = "the data",
) -> LabelReading:
    """Determine how the labels of data are read as the classes of a checkpoint.

    Ids in the data are taken as the checkpoint's ids only if the data or the checkpoint has no class names.

    Args:
        labels: The checkpoint's classes.
        data_labels: The data's distinct labels, canonical.
        names_of_ids: The data's own names of its ids.
        label_map: As in `read_training_labels`, with the checkpoint's classes.
        label_ids: How the checkpoint's training read labels that are not names, if recorded.
        where: Name of the data, for messages.

    Raises:
        DataError: the data's class names are not the checkpoint's, or its numbers do not fit.
    """
    renaming = dict(label_map or {})
    source_names = _own_names(data_labels, names_of_ids)
    _check_map(renaming, source_names)
    for name in renaming.values():
        if _match(name, labels) is None:
            raise DataError(f"--label-map: {labels.explain_unknown(name)}")
    wanted = {label: renaming.get(label, renaming.get(name, name)) for label, name in source_names.items()}
    foreign = [name for label, name in wanted.items() if name != label and _match(name, labels) is None]
    if foreign:
        if not _has_names(labels):
            wanted = {label: renaming.get(label, label) for label in source_names}
        else:
            raise DataError(
                f"{where}: its classes are {_listed(names_of_ids)}, the checkpoint's are {_listed(labels.names)}",
                f"Map them: --label-map {names_of_ids[0]}={labels.names[0]},...",
            )
    if label_ids:
        wanted = {label: name if _match(name, labels) else label_ids.get(name, name) for label, name in wanted.items()}
        if any(map(is_whole_number, label_ids)):  # a number that training did not see is unknown, never an id
            classes = _match_by_name(wanted, labels)
            return LabelReading(labels, classes, _id_note(classes) if set(classes) - set(classes.values()) else None)
    classes, note = _resolve(wanted, labels)
    return LabelReading(labels, classes, note)


def parse_label_map(texts: Sequence[str]) -> dict[str, str]:
    """`pos=positive,neg=negative` as a dictionary; several such texts are one.

    Raises:
        DataError: a part without `=`, or a label twice.
    """
    text = ",".join(texts)
    classes: dict[str, str] = {}
    for part in text.split(","):
        label, equals, name = (side.strip() for side in part.partition("="))
        if not (equals and label and name):
            raise DataError(f"--label-map {text}: expected LABEL=CLASS,...", "For example pos=positive,neg=negative.")
        if label in classes:
            raise DataError(f"--label-map {text}: {label!r} appears twice")
        classes[label] = name
    return classes


def _own_names(labels: Collection[str], names_of_ids: Sequence[str]) -> dict[str, str]:
    """The source's own name for each label: the label itself if the source names no ids.

    Where it names them, its labels are ids, also if the names look like ids, as in `1`, `10`, `2`.
    """
    names_by_id = {str(index): name for index, name in enumerate(names_of_ids)}
    return {label: names_by_id.get(label, label) for label in sorted(labels)}


def _check_map(renaming: Mapping[str, str], source_names: Mapping[str, str]) -> None:
    known = {*source_names, *source_names.values()}
    for label in renaming:
        if label not in known:
            raise DataError(
                f"label_map: no row has the label {label!r}", f"Labels found: {_listed(sorted(source_names))}."
            )


def _resolve(wanted: Mapping[str, str], labels: LabelMap) -> tuple[dict[str, str], str | None]:
    """Each label's class: by id if all labels are numbers and no class name is, else by name."""
    values = set(wanted.values())
    if values and all(map(is_whole_number, values)) and not any(map(is_whole_number, labels.names)):
        first = _first_number(values, labels)
        by_id = {label: labels.names[int(value) - first] for label, value in wanted.items()}
        return by_id, _id_note(by_id)
    return _match_by_name(wanted, labels), None


def _first_number(values: Collection[str], labels: LabelMap) -> int:
    """The number of the first class: 0, or 1 if there is no 0 and the highest number equals the number of classes."""
    numbers, count = sorted(map(int, values)), len(labels)
    if numbers[0] >= 0 and numbers[-1] < count:
        return 0
    if numbers[0] >= 1 and numbers[-1] == count:
        return 1
    raise DataError(
        f"the labels {_listed(list(map(str, numbers)))} do not fit the {count} classes {_listed(labels.names)}",
        f"Number them from 0 to {count - 1} or from 1 to {count}, or map them: --label-map"
        f" {numbers[0]}={labels.names[0]},...",
    )


def _id_note(classes: Mapping[str, str]) -> str:
    pairs = sorted(classes.items(), key=lambda pair: int(pair[0]) if is_whole_number(pair[0]) else 0)
    shown = ", ".join(f"{label} as {name}" for label, name in pairs[:_SHOWN])
    return f"The data's labels were read as ids: {shown}" + (", ..." if len(pairs) > _SHOWN else "")


def _match_by_name(wanted: Mapping[str, str], labels: LabelMap) -> dict[str, str]:
    matched = {label: _match(value, labels) for label, value in wanted.items()}
    return {label: name for label, name in matched.items() if name is not None}


def _match(value: str, labels: LabelMap) -> str | None:
    """The class that a label names. JSON's true and Python's True are one label."""
    if value in labels.names:
        return value
    if value.lower() in ("true", "false"):
        return next((name for name in labels.names if name.lower() == value.lower()), None)
    return None


def _with_positive(labels: LabelMap, positive: str | None) -> LabelMap:
    if positive is None:
        return labels
    name = _match(positive, labels)
    if name is None:
        raise DataError(f"data.positive_label: {labels.explain_unknown(positive)}")
    if len(labels) != 2:
        raise DataError(f"data.positive_label needs exactly two classes, but this data has {len(labels)}")
    return LabelMap((*(other for other in labels.names if other != name), name))


def _has_names(labels: LabelMap) -> bool:
    return not all(is_whole_number(name) or _PLACEHOLDER.fullmatch(name) for name in labels.names)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
