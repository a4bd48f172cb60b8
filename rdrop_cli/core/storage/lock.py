"""Allow one writer for each run folder, with a lock that the system releases when the process ends for any reason."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from filelock import FileLock, Timeout

from rdrop_cli.core.storage.files import unwritable
from rdrop_cli.errors import CheckpointError, StorageError

LOCK = ".lock"
"""The lock's file in a run folder. It is never removed: whether it is locked matters, not whether it exists."""

_GLANCE = 0.2
"""Seconds for which a lock may be refused before it counts as held: `has_writer` takes it briefly."""


@contextlib.contextmanager
def only_writer(run: Path, *, hint: str = "Wait until it ends, or give another --out.") -> Iterator[None]:
    """Hold the lock of a folder, as the only process that writes to it, while the block runs.

    Args:
        hint: What to do if another process holds it.

    Raises:
        CheckpointError: another process holds it.
        StorageError: the folder cannot be written to.
    """
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=_GLANCE)
    except Timeout as error:
        raise CheckpointError(f"{run}: another process is writing to this folder", hint) from error
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


def has_writer(run: Path) -> bool:
    """True while a process has the folder as `only_writer`. Writes nothing, so a read-only disk is no obstacle."""
    lock = run / LOCK
    if not os.path.isfile(lock):  # noqa: PTH113 - Path.is_file raises where a folder may not be looked into
        return False
    if fcntl is None:
        return _is_refused(run)
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.ENOSYS:  # a file system without locks: what stands in for them can tell
            return _is_refused(run)
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(descriptor)
    return False


def _is_refused(run: Path) -> bool:
    try:
        refuse_if_in_use(run)
    except CheckpointError:
        return True
    except StorageError:
        return False
    return False
