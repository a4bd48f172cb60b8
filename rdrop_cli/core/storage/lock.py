"""One writer for each run folder, by a lock that the system releases when its process ends, however it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from rdrop_cli.core.storage.files import unwritable
from rdrop_cli.errors import CheckpointError

LOCK = ".lock"
"""The lock's file in a run folder. It stays there: whether it is locked counts, not whether it is there."""


@contextlib.contextmanager
def only_writer(run: Path) -> Iterator[None]:
    """Be the one process that writes to a folder while the block runs.

    Raises:
        CheckpointError: another process is.
        StorageError: the folder cannot be written to.
    """
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise CheckpointError(
            f"{run}: another training is writing here now", "Wait until it ends, or give another --out."
        ) from error
    except OSError as error:
        raise unwritable(run, error) from error
    try:
        yield
    finally:
        lock.release()


def refuse_if_in_use(run: Path) -> None:
    """Find out early what `only_writer` would say.

    Raises:
        CheckpointError: another process writes to the folder.
    """
    if (run / LOCK).is_file():
        with only_writer(run):
            pass
