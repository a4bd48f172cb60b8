"""What a column's labels mean is decided over the whole column."""

import pytest

from rdrop_cli.core.data.label_column import parse_label_map, read_labels_as, read_training_labels
from rdrop_cli.core.data.labels import LabelMap
from rdrop_cli.errors import DataError

SIGNS = LabelMap(("negative", "positive"))


@pytest.mark.parametrize(
    ("found", "names", "classes"),
    [
        (["0", "1"], ["a", "b"], {"0": "a", "1": "b"}),
        (["1", "2"], ["a", "b"], {"1": "a", "2": "b"}),
        (["0"], ["a", "b"], {"0": "a"}),
        (["1"], ["a", "b"], {"1": "b"}),  # could be either; 0 is the rule
        (["b", "a"], ["a", "b"], {"a": "a", "b": "b"}),
        (["1", "2"], ["1", "2"], {"1": "1", "2": "2"}),  # names that are numbers are names
        (["2", "1"], ["2", "1"], {"1": "1", "2": "2"}),
        (["True"], ["false", "true"], {"True": "true"}),
        (["a", "1"], ["a", "b"], {"a": "a"}),  # a column of names has no ids: 1 is unknown
    ],
)
def test_names_and_numbers(found, names, classes):
    assert read_labels_as(LabelMap(tuple(names)), found).classes == classes


@pytest.mark.parametrize("found", [["0", "2"], ["0", "1", "2"], ["1", "3"], ["-1", "0", "1"]])
def test_numbers_that_do_not_fit_are_refused(found):
    with pytest.raises(DataError, match="do not fit the 2 classes negative, positive"):
        read_labels_as(SIGNS, found)


def test_the_sources_names_of_its_ids_come_first():
    reading = read_training_labels(["0", "1"], names_of_ids=["neg", "pos"])
    assert reading.classes == {"0": "neg", "1": "pos"}
    turned = read_training_labels(["0", "1"], names=["pos", "neg"], names_of_ids=["neg", "pos"])
    assert (turned.labels.names, turned.ids) == (("pos", "neg"), {"0": 1, "1": 0})
    renamed = read_training_labels(["0", "1"], names=["bad", "good"], names_of_ids=["neg", "pos"])
    assert (renamed.labels.names, renamed.ids) == (("bad", "good"), {"0": 0, "1": 1})
    merged = read_training_labels(["0", "1", "2"], names_of_ids=["neg", "so-so", "pos"], label_map={"so-so": "neg"})
    assert (merged.labels.names, merged.ids) == (("neg", "pos"), {"0": 0, "1": 0, "2": 1})


def test_names_of_ids_that_look_like_ids_are_names():
    names = sorted(map(str, range(11)))  # 0, 1, 10, 2, ...
    reading = read_training_labels(list(map(str, range(11))), names_of_ids=names)
    assert reading.classes == {str(index): name for index, name in enumerate(names)}
    assert read_labels_as(reading.labels, ["1", "2"], names_of_ids=names).classes == {"1": "1", "2": "10"}


def test_the_positive_class_gets_the_second_id():
    reading = read_training_labels(["ham", "spam"], positive="ham")
    assert (reading.labels.names, reading.ids) == (("spam", "ham"), {"ham": 1, "spam": 0})
    with pytest.raises(DataError, match="needs exactly two classes, but this data has 3"):
        read_training_labels(["a", "b", "c"], positive="a")


def test_the_positive_class_does_not_turn_ids():
    reading = read_training_labels(["0", "1"], names=["no", "yes"], positive="no")
    assert (reading.labels.names, reading.ids) == (("yes", "no"), {"0": 1, "1": 0})


def test_ids_are_ids_only_where_one_side_has_no_names():
    with pytest.raises(DataError, match=r"x: its classes are bad, good, the checkpoint's are negative, positive"):
        read_labels_as(SIGNS, ["0", "1"], names_of_ids=["bad", "good"], where="x")
    unnamed = LabelMap(("LABEL_0", "LABEL_1"))
    assert read_labels_as(unnamed, ["0", "1"], names_of_ids=["bad", "good"]).ids == {"0": 0, "1": 1}
    assert read_labels_as(SIGNS, ["0", "1"], names_of_ids=["positive", "negative"]).ids == {"0": 1, "1": 0}


def test_the_numbers_of_the_training_are_remembered():
    numbers = {"1": "negative", "2": "positive"}
    assert read_labels_as(SIGNS, ["1"], label_ids=numbers).classes == {"1": "negative"}
    assert read_labels_as(SIGNS, ["0", "1"], label_ids=numbers).classes == {"1": "negative"}
    assert read_labels_as(SIGNS, ["positive"], label_ids=numbers).note is None


@pytest.mark.parametrize("text", ["", "a", "a=", "=b", "a=b,", "a=b,a=c"])
def test_a_label_map_is_pairs(text):
    with pytest.raises(DataError, match="--label-map"):
        parse_label_map([text])


def test_a_label_map_is_parsed():
    assert parse_label_map(["pos=positive, neg = negative"]) == {"pos": "positive", "neg": "negative"}
    assert parse_label_map(["pos=positive", "neg=negative"]) == {"pos": "positive", "neg": "negative"}


@pytest.mark.parametrize("labels", [["0.5", "3.8"], ["0", "2.4", "5"], ["1e-3", "0.25"]])
def test_scores_are_no_classes(labels):
    with pytest.raises(DataError, match="the labels are scores such as"):
        read_training_labels(labels)
    assert read_training_labels(["4.5", "5", "4.5"], names=["4.5", "5"]).ids == {"4.5": 0, "5": 1}


def test_booleans_are_one_label_however_they_are_written():
    reading = read_training_labels(["True", "True", "false", "true"])
    assert (reading.labels.names, reading.ids) == (("True", "false"), {"True": 0, "true": 0, "false": 1})
