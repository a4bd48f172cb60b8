"""Progress over many files: what is done, how fast, and how long it will still take."""

import pytest

from rdrop_cli.terminal import parts_view
from rdrop_cli.terminal.console import Screen
from rdrop_cli.terminal.parts_view import PartsView


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(parts_view, "time", made)
    return made


def test_the_time_left_is_that_of_the_bytes_left(clock):
    view = PartsView(Screen(), count=4, size=4000)
    assert view.state(0) == "0 of 4, 0 rows"
    view.part(1000, 50)
    assert view.state(100) == "1 of 4, 50 rows, 0/s, 5 min 00 s left"
    view.part(2000, 5000)
    assert view.state(100) == "2 of 4, 5,050 rows, 50/s, 33 s left"


def test_rows_of_a_part_that_is_being_predicted_count_as_much_as_those_before(clock):
    view = PartsView(Screen(), count=2, size=2000)
    view.part(1000, 100)
    for _ in range(50):
        view.row()
    assert view.state(30) == "1 of 2, 150 rows, 5/s, 10 s left"
    for _ in range(500):
        view.row()
    assert view.state(30).endswith(", 0 s left")  # more rows than expected: never a negative time
    view.part(1000, 550)
    assert view.state(30) == "2 of 2, 650 rows, 22/s, 0 s left"


def test_without_a_terminal_there_is_a_line_now_and_then(clock, capsys):
    with PartsView(Screen(), count=3, size=3000) as view:
        for _ in range(3):
            clock.now += 10
            view.part(1000, 10)
    assert capsys.readouterr().out == "Parts: 2 of 3, 20 rows, 1/s, 10 s left\n"


def test_quiet_shows_nothing(clock, capsys):
    with PartsView(Screen(quiet=True), count=1, size=1) as view:
        clock.now = 100
        view.part(1, 1)
    assert capsys.readouterr() == ("", "")


def test_parts_without_content_are_no_reason_to_fail(clock):
    view = PartsView(Screen(), count=1, size=0)
    view.part(0, 0)
    assert view.state(1) == "1 of 1, 0 rows, 0/s"
