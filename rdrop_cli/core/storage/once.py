"""Cache the result of a function of a file's content, per process, until the file changes."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

_SETTLED = 2.0
"""Seconds. A file written more recently may change again and keep its time stamp: FAT counts in steps of two."""


def once_a_version(function: Callable[[Path], Result]) -> Callable[[Path], Result]:
    """Cache a function of a file until the file's inode, size or times change.

    Do not use it to detect damage: a disk that loses bits changes none of these.
    """
    known: dict[tuple[str, int, int, int, int, int], Result] = {}

    @functools.wraps(function)
    def remembering(path: Path) -> Result:
        version = _version(path)
        if version in known:
            return known[version]
        is_settled = time.time() - path.stat().st_mtime > _SETTLED
        result = function(path)
        if is_settled:
            known[version] = result
        return result

    return remembering


def _version(path: Path) -> tuple[str, int, int, int, int, int]:
    stat = path.stat()
    return str(path.absolute()), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
