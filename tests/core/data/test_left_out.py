"""What was left out: counted, said, refused above one percent."""

import pytest

from rdrop_cli.core.data import left_out
from rdrop_cli.errors import DataError


def report(**rejected):
    return {
        "rows": dict.fromkeys(rejected, 1000),
        "left_out": {split: {"text is empty": n} for split, n in rejected.items() if n},
    }


def test_up_to_one_percent_of_a_split_may_be_unusable():
    left_out.check_share(left_out.record(report(train=10, test=10)), "data")
    with pytest.raises(DataError, match=r"data, test: 11 of 1,000 rows \(1%\) cannot be used: text is empty: 11"):
        left_out.check_share(left_out.record(report(train=0, test=11)), "data")
    left_out.check_share(left_out.record(report(test=11)), "data", allow=True)


def test_nothing_is_said_where_nothing_was_left_out():
    assert left_out.sentences(left_out.record(report(all=0))) == []
    assert left_out.sentences({}) == []


def test_many_reasons_are_summed_up():
    reasons = left_out.by_reason(["a"] * 5 + ["b"] * 4 + ["c"] * 3 + ["d", "e"])
    assert left_out.listed(reasons) == "a: 5; b: 4; c: 3; other reasons: 2"


def test_a_report_of_an_earlier_version_has_its_reasons():
    old = {"rejected": 2, "reasons": {"text is empty": 2}, "crossing": 3}
    assert left_out.sentences(left_out.record(old)) == [
        "Left out: 2 rows (text is empty: 2)",
        "Dropped from train or validation: 3 rows whose text is also in test or validation",
    ]
    left_out.check_share(left_out.record(old), "data")  # how many rows there were is not known
