"""Class weights: as scikit-learn computes them, scaled to a mean of 1 over the examples, and for the data's classes."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from rdrop_cli.core.data.class_weights import class_weights
from rdrop_cli.errors import ConfigError

COUNTS = {"ham": 439, "spam": 61}


def mean_over_examples(weights, counts):
    return sum(weights[name] * count for name, count in counts.items()) / sum(counts.values())


@pytest.mark.parametrize("counts", [[439, 61], [5, 5], [100, 1, 17, 300]])
def test_balanced_weights_are_those_of_scikit_learn(counts):
    found = class_weights("balanced", {str(index): count for index, count in enumerate(counts)})
    labels = np.repeat(np.arange(len(counts)), counts)
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    assert list(found.values()) == pytest.approx(expected / expected[labels].mean())


@pytest.mark.parametrize("chosen", ["balanced", {"ham": 1, "spam": 5}, {"ham": 1e300, "spam": 1e308}])
def test_their_mean_over_the_examples_is_one(chosen):
    found = class_weights(chosen, COUNTS)
    assert list(found) == ["ham", "spam"]
    assert mean_over_examples(found, COUNTS) == pytest.approx(1.0)


def test_given_weights_keep_their_ratio_whatever_their_order():
    found = class_weights({"spam": 10, "ham": 2}, COUNTS)
    assert found["spam"] / found["ham"] == pytest.approx(5.0)
    assert found == class_weights({"ham": 1, "spam": 5}, COUNTS)


def test_none_is_no_weights():
    assert class_weights("none", COUNTS) is None


def test_a_class_without_examples_does_not_change_the_others():
    found = class_weights("balanced", {"a": 30, "b": 10, "c": 0})
    assert found["a"] * 30 == pytest.approx(found["b"] * 10)
    assert mean_over_examples(found, {"a": 30, "b": 10, "c": 0}) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"ham": 1, "spma": 5}, "no class 'spma'; the classes are 'ham', 'spam'. Did you mean 'spam'?"),
        ({"ham": 1, "spam": 5, "0": 2}, "no class '0'; the classes are 'ham', 'spam'. Use the names of the classes."),
        ({"spam": 5}, "no weight for 'ham'. Give every class a weight; 1 is a neutral one."),
    ],
)
def test_weights_for_other_classes_than_the_datas_are_refused(chosen, said):
    with pytest.raises(ConfigError) as error:
        class_weights(chosen, COUNTS)
    assert str(error.value) == f"train.class_weights: {said}"
