"""Which classes are rare, and what is said of them."""

import pytest

from rdrop_cli.core.data.audit import rare_class_advice, rare_classes


@pytest.mark.parametrize(
    ("counts", "rare"),
    [
        ({"ham": 80, "spam": 20}, {}),
        ({"ham": 81, "spam": 19}, {"spam": 0.19}),
        ({"a": 50, "b": 36, "c": 14}, {}),
        ({"a": 50, "b": 37, "c": 13}, {"c": 0.13}),
        ({"a": 4, "b": 94, "c": 2}, {"c": 0.02, "a": 0.04}),
    ],
)
def test_a_class_is_rare_below_two_fifths_of_an_equal_share(counts, rare):
    found = rare_classes(counts)
    assert list(found.items()) == list(rare.items())


def test_the_advice_names_the_class_its_share_and_both_ways():
    assert rare_class_advice({"ham": 439, "spam": 61}) == (
        "Rare in train: 'spam' 12.2% of the examples. If finding such texts matters most, try --set"
        " train.class_weights=balanced, or a threshold chosen after training with rdrop evaluate RUN"
        " --choose-threshold f1"
    )


def test_of_more_than_two_classes_no_threshold_is_advised():
    advice = rare_class_advice({"a": 900, "b": 60, "c": 40})
    assert "Rare in train: 'c' 4.0%, 'b' 6.0% of the examples" in advice
    assert "class_weights=balanced" in advice and "threshold" not in advice


def test_of_many_rare_classes_the_rarest_are_named():
    advice = rare_class_advice({"large": 1000, **{f"class{index}": index for index in range(1, 9)}})
    assert "'class5' 0.5% and 3 more" in advice and "class6" not in advice


def test_equal_classes_need_no_advice():
    assert rare_class_advice({"a": 50, "b": 50}) is None
