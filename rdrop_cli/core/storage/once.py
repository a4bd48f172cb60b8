"""Work that depends on a file's content alone, done once a process for as long as the file stays as it is."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

_SETTLED = 2.0
"""Seconds. A file written less long ago may change again with no other time to show for it: FAT counts in twos."""


def once_a_version(function: Callable[[Path], Result]) -> Callable[[Path], Result]:
    """Remember what a function says of a file, until the file's place on the disk, its size or its times change.

    For files that others write. What shall find damage must read: a disk that loses bits changes none of these.
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
