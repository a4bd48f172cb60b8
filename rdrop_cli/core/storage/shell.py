"""Quote the commands that are shown to be pasted into a shell."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable

ON_WINDOWS = os.name == "nt"
_PLAIN_ON_WINDOWS = re.compile(r"[\w\\/:.=+][\w\\/:.=+-]*|-[\w-]*")
"""Arguments that both cmd and PowerShell take literally."""


def quote(argument: str) -> str:
    """An argument quoted for the shell of this system.

    Windows has two shells. Both accept double quotes, with a quote inside doubled. What cannot be quoted for both is
    left as it is: `%NAME%`, which cmd expands, and `$` and the backtick, which PowerShell does.
    """
    if not ON_WINDOWS:
        return shlex.quote(argument)
    if _PLAIN_ON_WINDOWS.fullmatch(argument):
        return argument
    inner = re.sub(r'(\\*)"', r'\1\1""', argument)  # backslashes before a quote would escape it
    return '"' + re.sub(r"(\\+)$", r"\1\1", inner) + '"'


def join(arguments: Iterable[str]) -> str:
    """A command line with its arguments quoted."""
    return " ".join(map(quote, arguments))
