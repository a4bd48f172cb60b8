"""Stratified, seeded splits that keep identical texts together, and stratified samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def stratified_split(
    keys: Sequence[object], labels: Sequence[int], *, validation: float, test: float, seed: int
) -> dict[str, list[int]]:
    """Divide examples into train, validation and test.

    Examples with equal keys (the same text) go to the same split, so that no test text was trained on. Each class is
    divided separately; a class too small for its share stays in train.

    Args:
        keys: One for each example; equal for examples that count as the same.
        labels: Class ids, one for each example.
        validation: Share of the distinct keys; 0: no validation split.
        test: The same for test.
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

    With the same seed, a smaller sample is part of a larger one, so that samples of several sizes give a learning
    curve.

    Returns:
        Indices in ascending order.
    """
    rng = np.random.default_rng(seed)
    position = np.empty(len(labels))
    values = np.asarray(labels)
    for label in np.unique(values):
        members = np.flatnonzero(values == label)
        # Each class is spread evenly over [0, 1), so any prefix has the classes in proportion, and starts with one
        # example of each class.
        position[rng.permutation(members)] = np.arange(len(members)) / len(members)
    return sorted(np.argsort(position, kind="stable")[:count].tolist())
