"""Allow one writer for each run folder, with a lock that the system releases when the process ends for any reason."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from rdrop_cli.core.storage.files import unwritable
from rdrop_cli.errors import CheckpointError

LOCK = ".lock"
"""The lock's file in a run folder. It is never removed: whether it is locked matters, not whether it exists."""


@contextlib.contextmanager
def only_writer(run: Path) -> Iterator[None]:
    """Hold the lock of a folder, as the only process that writes to it, while the block runs.

    Raises:
        CheckpointError: another process holds it.
        StorageError: the folder cannot be written to.
    """
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise CheckpointError(
            f"{run}: another training is writing to this folder", "Wait until it ends, or give another --out."
        ) from error
    except OSError as error:
        raise unwritable(run, error) from error
    try:
        yield
    finally:
        lock.release()


def refuse_if_in_use(run: Path) -> None:
    """Check early whether `only_writer` would succeed.

    Raises:
        CheckpointError: another process writes to the folder.
    """
    if (run / LOCK).is_file():
        with only_writer(run):
            pass
