"""Commands as they are shown to be pasted into a shell."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable

ON_WINDOWS = os.name == "nt"
_PLAIN_ON_WINDOWS = re.compile(r"[\w\\/:.=+][\w\\/:.=+-]*|-[\w-]*")
"""What neither cmd nor PowerShell reads as anything but itself."""


def quote(argument: str) -> str:
    """An argument as the shell of this system takes it.

    Windows has two shells. Double quotes serve both, with a quote inside doubled; what no spelling keeps from both is
    left as it is: `%NAME%` from cmd, `$` and the backtick from PowerShell.
    """
    if not ON_WINDOWS:
        return shlex.quote(argument)
    if _PLAIN_ON_WINDOWS.fullmatch(argument):
        return argument
    inner = re.sub(r'(\\*)"', r'\1\1""', argument)  # backslashes before a quote would escape it
    return '"' + re.sub(r"(\\+)$", r"\1\1", inner) + '"'


def join(arguments: Iterable[str]) -> str:
    """A command with its arguments."""
    return " ".join(map(quote, arguments))
