"""Import PyTorch and what builds on it with less work. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

_is_own_process = False


def in_own_process() -> None:
    """Say that this process runs rdrop and nothing else, so that `large_imports` may do something.

    What a program that imports rdrop does with its garbage is not for rdrop to decide.
    """
    global _is_own_process
    _is_own_process = True


@contextlib.contextmanager
def large_imports() -> Iterator[None]:
    """Turn Python's garbage collector off while PyTorch is imported, and let it pass over what was imported.

    That is hundreds of thousands of objects that live as long as the process. The collector would look through them
    again and again: a sixth of the work of importing them, some at the end of each training, and some when the process
    ends. A training of a second takes five seconds of a core instead of eight.

    It changes nothing in a process that is not rdrop's own, and where PyTorch is loaded already.
    """
    if not _is_own_process or "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if "torch" in sys.modules:
            gc.freeze()
        gc.enable()
