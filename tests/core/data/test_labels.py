"""Names outside, ids inside."""

import pytest

from rdrop_cli.core.data.labels import LabelMap, canonical
from rdrop_cli.errors import DataError


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.0, "1"), ("1.0", "1"), (" spam ", "spam"), (True, "true"), (2.5, "2.5"), ("", None), (None, None)],
)
def test_labels_of_any_type_become_the_same_text(value, text):
    assert canonical(value) == text


def test_nan_is_no_label():
    assert canonical(float("nan")) is None


def test_numbers_are_ordered_as_numbers_and_names_by_alphabet():
    assert LabelMap.from_values(["10", "9", "-1"]).names == ("-1", "9", "10")
    assert LabelMap.from_values(["spam", "ham", "spam"]).names == ("ham", "spam")


def test_a_label_is_a_name_or_an_id():
    labels = LabelMap(("negative", "positive"))
    assert [labels.id_of(value) for value in ("positive", "1", 1, 1.0)] == [1, 1, 1, 1]
    assert labels.id_of("2") is None


def test_where_a_name_looks_like_an_id_the_name_wins():
    assert LabelMap(("1", "0")).id_of("1") == 0
    assert LabelMap(("1", "2")).id_of("2") == 1
    assert LabelMap(("1", "2")).id_of("0") is None


def test_one_class_is_none():
    with pytest.raises(DataError, match="at least two classes, found only 'a'"):
        LabelMap.from_values(["a", "a"])


def test_a_column_of_measurements_is_no_label_column():
    with pytest.raises(DataError, match="1,001 distinct labels"):
        LabelMap.from_values([str(i) for i in range(1001)] * 9)
    with pytest.raises(DataError, match="299 distinct labels in 300 rows"):
        LabelMap.from_values([f"a whole review {min(i, 298)}" for i in range(300)])


def test_an_unknown_label_is_explained_with_the_nearest():
    assert LabelMap(("negative", "positive")).explain_unknown("positve").endswith("(did you mean 'positive'?)")


def test_numbers_that_differ_only_in_writing_have_one_order():
    assert {LabelMap.from_values(names).names for names in (["7", "07", "007"] * 3, ["007", "7", "07"] * 3)} == {
        ("007", "07", "7")
    }
