"""Stratified, seeded splits that keep identical texts together, and stratified samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def stratified_split(
    keys: Sequence[object], labels: Sequence[int], *, validation: float, test: float, seed: int
) -> dict[str, list[int]]:
    """Divide examples into train, validation and test.

    Examples with equal keys (the same text) go to the same split, so that nothing is learned that is then tested.
    Each class is divided on its own; a class too small for its share stays in train.

    Args:
        keys: What makes two examples the same, one a example.
        labels: Class ids, one an example.
        validation: Share of the distinct keys, 0 for no such split.
        test: As validation.
        seed: The same seed, keys and labels give the same split.

    Returns:
        Indices in their original order, for each split that is not empty.
    """
    groups: dict[object, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    by_class: dict[int, list[list[int]]] = {}
    for members in groups.values():
        by_class.setdefault(labels[members[0]], []).append(members)

    rng = np.random.default_rng(seed)
    chosen: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for label in sorted(by_class):
        class_groups = by_class[label]
        order = rng.permutation(len(class_groups))
        test_count = round(test * len(order))
        validation_count = round(validation * len(order))
        for position, group in enumerate(order):
            if position < test_count:
                split = "test"
            elif position < test_count + validation_count:
                split = "validation"
            else:
                split = "train"
            chosen[split] += class_groups[group]
    return {split: sorted(indices) for split, indices in chosen.items() if indices}


def stratified_sample(labels: Sequence[int], count: int, *, seed: int) -> list[int]:
    """Choose `count` examples (or all, if there are fewer) with the classes in proportion.

    A smaller sample with the same seed is part of a larger one, so that samples make a learning curve.

    Returns:
        Indices in ascending order.
    """
    rng = np.random.default_rng(seed)
    position = np.empty(len(labels))
    values = np.asarray(labels)
    for label in np.unique(values):
        members = np.flatnonzero(values == label)
        # Each class spread evenly over [0, 1): any first part of that has all classes in proportion, and one of each
        # as long as there is room.
        position[rng.permutation(members)] = np.arange(len(members)) / len(members)
    return sorted(np.argsort(position, kind="stable")[:count].tolist())
