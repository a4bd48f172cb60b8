"""Stratified, seeded, and never with one text in two splits."""

from collections import Counter

import pytest

from rdrop_cli.core.data.splits import stratified_sample, stratified_split


def test_classes_keep_their_shares():
    labels = [0] * 900 + [1] * 100
    splits = stratified_split(range(1000), labels, validation=0.1, test=0.2, seed=0)
    assert {name: Counter(labels[i] for i in chosen) for name, chosen in splits.items()} == {
        "train": {0: 630, 1: 70},
        "validation": {0: 90, 1: 10},
        "test": {0: 180, 1: 20},
    }


def test_the_same_seed_gives_the_same_split():
    arguments = (range(100), [i % 2 for i in range(100)])
    first, again, other = (stratified_split(*arguments, validation=0.1, test=0.1, seed=s) for s in (7, 7, 8))
    assert first == again != other


def test_repeats_of_a_text_stay_together():
    keys = [i // 4 for i in range(400)]
    splits = stratified_split(keys, [key % 2 for key in keys], validation=0.2, test=0.2, seed=0)
    where = {name: {keys[i] for i in chosen} for name, chosen in splits.items()}
    assert not where["train"] & where["test"]
    assert not where["train"] & where["validation"]
    assert sum(map(len, splits.values())) == 400


def test_a_class_too_small_for_its_share_stays_in_train():
    labels = [0] * 50 + [1] * 2
    splits = stratified_split(range(52), labels, validation=0.1, test=0.1, seed=0)
    assert {50, 51} <= set(splits["train"])


def test_no_share_no_split():
    assert set(stratified_split(range(20), [0, 1] * 10, validation=0.0, test=0.5, seed=0)) == {"train", "test"}


@pytest.mark.parametrize("count", [2, 10, 37, 100, 150])
def test_a_sample_has_the_classes_in_proportion(count):
    labels = [0] * 80 + [1] * 40 + [2] * 30
    chosen = stratified_sample(labels, count, seed=1)
    assert len(set(chosen)) == count and chosen == sorted(chosen)
    for label, share in ((0, 80 / 150), (1, 40 / 150), (2, 30 / 150)):
        assert abs(sum(labels[index] == label for index in chosen) - share * count) <= 1


def test_a_smaller_sample_is_part_of_a_larger_one_and_the_seed_decides():
    labels = [0, 1] * 50
    small, large = (set(stratified_sample(labels, count, seed=3)) for count in (20, 60))
    assert small < large
    assert set(stratified_sample(labels, 20, seed=4)) != small
    assert stratified_sample(labels, 1000, seed=3) == list(range(100))
