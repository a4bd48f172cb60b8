"""Questions before something that cannot be undone."""

import sys

from rdrop_cli.commands.asking import is_terminal


def test_a_closed_input_is_no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert not is_terminal()
