"""Items of a slow source come one by one, those of a fast one in batches."""

import io
import sys
import threading
from itertools import chain

import pytest

from rdrop_cli.core.data.columns import ColumnNames
from rdrop_cli.core.inference.inputs import Inputs
from rdrop_cli.core.inference.stream import as_they_come
from rdrop_cli.errors import ConfigError, DataError

PATIENCE = 60
"""Seconds after which something is stuck."""


def test_an_item_does_not_wait_for_the_next_one():
    has_been_seen = threading.Event()

    def slow():
        for item in range(5):
            yield item
            assert has_been_seen.wait(PATIENCE)
            has_been_seen.clear()

    batches = []
    for batch in as_they_come(slow(), 100):
        batches.append(batch)
        has_been_seen.set()
    assert batches == [[0], [1], [2], [3], [4]]


def test_items_that_are_there_come_together_in_order_and_not_too_many():
    are_there = threading.Event()

    def fast():
        yield from range(8)
        are_there.set()
        yield from range(8, 25)

    batches = as_they_come(fast(), 4)
    first = next(batches)
    assert are_there.wait(PATIENCE)
    rest = list(batches)
    assert list(chain(first, *rest)) == list(range(25))
    assert max(map(len, rest)) == 4


def test_only_so_many_are_read_ahead():
    read = []

    def endless():
        while True:
            read.append(None)
            yield len(read)

    seen = 0
    for batch in as_they_come(endless(), 10):
        seen += len(batch)
        assert len(read) <= seen + 2 * 10 + 1
        if seen >= 1000:
            break


def test_an_error_comes_after_the_items_before_it():
    def broken():
        yield from range(3)
        raise DataError("broken")

    seen = []
    with pytest.raises(DataError, match="broken"):
        for batch in as_they_come(broken(), 100):
            seen += batch
    assert seen == [0, 1, 2]


def test_nothing_comes_from_an_empty_source():
    assert list(as_they_come([], 10)) == []


class NotYet(io.RawIOBase):
    """A pipe in which nothing has been written."""

    def readable(self):
        return True

    def readinto(self, _):
        raise AssertionError("it would wait")


def test_stdin_can_be_checked_without_waiting_for_its_first_row(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(NotYet())))
    inputs = Inputs(None, "-", input_format="jsonl", defaults=ColumnNames())
    inputs.check(wait=False)
    with pytest.raises(AssertionError, match="it would wait"):
        inputs.check()
    with pytest.raises(DataError, match="parquet cannot be read from stdin"):
        Inputs(None, "-", input_format="parquet", defaults=ColumnNames()).check(wait=False)
    with pytest.raises(ConfigError, match="unknown"):
        Inputs(None, "-", input_format="xml", defaults=ColumnNames()).check(wait=False)


def test_the_columns_are_chosen_by_the_first_object_wherever_it_is_read(monkeypatch):
    lines = b'oops\n{"question1": "a", "question2": "b", "id": 7}\n{"question1": "c"}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    columns = ColumnNames("question1", "is_duplicate", "question2")
    inputs = Inputs(None, "-", input_format="jsonl", defaults=columns)
    inputs.check(wait=False)
    first, second, third = inputs
    assert (first.text, first.pair) == ("", None)
    assert first.problem.startswith("stdin, line 1: not valid JSON (")
    assert (second.text, second.pair, second.problem) == ("a", "b", None)
    assert (third.text, third.pair, third.problem) == ("c", "", "stdin, line 3: question2 is missing")
    assert (inputs.problems, inputs.first_problem) == (2, first.problem)
