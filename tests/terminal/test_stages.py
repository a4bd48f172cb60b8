"""Progress of named stages."""

import io
import sys

import pytest
from rich.console import Console

from rdrop_cli.terminal.console import Screen


class Stream(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.mark.parametrize("is_terminal", [False, True])
def test_what_is_written_to_a_pipe_does_not_go_to_the_terminal_with_the_bars(monkeypatch, is_terminal):
    stdout, terminal = Stream(is_terminal), io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    screen = Screen(to_stderr=True)
    screen.ui = Console(file=terminal, force_terminal=True, width=80)
    with screen.stages() as stages:
        stages.update("Classifying", 1, 2)
        sys.stdout.write("data\n")
    assert (stdout.getvalue() == "data\n") is not is_terminal
    assert ("data" in terminal.getvalue()) is is_terminal
