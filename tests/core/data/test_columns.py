"""Which columns are read: those that are named, else a checkpoint's, else those with usual names."""

import pytest

from rdrop_cli.core.data.columns import ColumnNames, Columns, choose_columns, resolve_columns
from rdrop_cli.errors import DataError

ROW = dict.fromkeys(("text", "title", "label", "stars"))


def test_what_is_recorded_of_columns_is_read_back():
    columns = Columns("title", "stars", None)
    assert columns.as_dict() == {"text": "title", "label": "stars", "text_pair": None}
    assert ColumnNames.from_record(columns.as_dict()) == ColumnNames("title", "stars")


@pytest.mark.parametrize("record", [None, [], "text", {"text": 3}, {"text": "a", "label": ["b"]}])
def test_a_record_that_is_none_names_nothing(record):
    assert ColumnNames.from_record(record) == ColumnNames()


def test_a_named_column_wins_over_the_checkpoints_and_that_over_a_usual_name():
    trained = ColumnNames("title", "stars")
    assert choose_columns(ROW, "x.csv", ColumnNames(), trained) == Columns("title", "stars")
    assert choose_columns(ROW, "x.csv", ColumnNames(label="label"), trained) == Columns("title", "label")
    assert choose_columns(ROW, "x.csv", ColumnNames(), ColumnNames("gone", "lost")) == Columns("text", "label")


def test_where_a_checkpoint_takes_pairs_a_second_text_is_asked_for():
    pairs = ColumnNames("text", "label", "other")
    with pytest.raises(DataError, match=r"x\.csv: no column 'other'"):
        choose_columns(ROW, "x.csv", ColumnNames(), pairs)
    with pytest.raises(DataError, match=r"no column 'second'.*--text-pair-column"):
        resolve_columns(ROW, "x.csv", ColumnNames(text_pair="second"))
