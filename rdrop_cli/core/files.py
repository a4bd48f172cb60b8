"""Writing files and folders so that a reader sees the old one or the new one, never a half.

What is written stands beside its place first, is flushed to the disk, and is then renamed: a kill or a power cut at any
instant leaves the old one or the new one. The one exception is a folder that replaces another: between two renames the
old one is there under a hidden name, from which `sweep` and the next writer put it back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from rdrop_cli.errors import StorageError

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<host>[^.]*)-(?P<process>\d+)\.(?P<kind>partial|old)")
_NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
"""What file systems answer that cannot flush a folder."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; rename it into place when the block ends well, else remove it.

    Raises:
        StorageError: no permission, no space, or another failure of the file system.
    """
    path = path.resolve() if path.is_symlink() else path  # a link stays, what it leads to is replaced
    staging = staging_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _discard(staging)
        _sweep_after_the_dead(path)
        yield staging
        _flush(staging)
        if staging.is_dir():
            _replace_folder(staging, path)
        else:
            if path.is_file():
                shutil.copymode(path, staging)
            staging.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # it would hide what went wrong; the next writer tries again
            _discard(staging)


@contextlib.contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """As `writing`, for a folder: it exists and is empty when the block begins."""
    with writing(path) as staging:
        staging.mkdir()
        yield staging


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or leave the old one.

    Raises:
        StorageError: it cannot be written.
    """
    with writing(path) as staging:
        staging.write_text(text, encoding="utf-8")


def unwritable(path: Path, error: OSError) -> StorageError:
    """The error for a failure of the file system; it names `path`, not what stood beside it."""
    return StorageError(f"{path}: cannot be written ({error.strerror or error})")


def staging_of(path: Path) -> Path:
    """Where this process writes what shall become `path`; `sweep` knows such a place by its name."""
    return _beside(path, "partial")


def is_leftover(path: Path) -> bool:
    """True for what a writer leaves when it is killed."""
    return _LEFTOVER.fullmatch(path.name) is not None


def sweep(folder: Path) -> None:
    """Clear away what killed writers left in a folder, and put back what one was about to replace.

    Only for a folder that nobody else writes to.

    Raises:
        StorageError: something cannot be removed.
    """
    for leftover in sorted(folder.glob(".*")):
        if found := _LEFTOVER.fullmatch(leftover.name):
            _settle(leftover, folder / found["name"], found["kind"])


def user_path(name: str | Path) -> Path:
    """A path with `~` resolved; a `~user` that does not exist stays as it is.

    Raises:
        StorageError: its name is not UTF-8, which could not be recorded.
    """
    if not str(name).isascii() and any("\ud800" <= character <= "\udfff" for character in str(name)):
        raise StorageError(f"{name}: the name is not valid UTF-8", "Rename it.")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}.{kind}")


def _host() -> str:
    return re.sub(r"[^\w-]", "_", socket.gethostname())


def _sweep_after_the_dead(path: Path) -> None:
    """As `sweep`, for one path and for writers of this machine that are no more: others may be at work."""
    for leftover in sorted(path.parent.glob(".*")):
        found = _LEFTOVER.fullmatch(leftover.name)
        if found and found["name"] == path.name and found["host"] == _host() and _is_dead(int(found["process"])):
            _settle(leftover, path, found["kind"])


def _settle(leftover: Path, path: Path, kind: str) -> None:
    try:
        if kind == "old" and not path.exists():
            leftover.rename(path)
        else:
            _discard(leftover)
    except OSError as error:
        raise unwritable(path, error) from error


def _is_dead(process: int) -> bool:
    if os.name == "nt" or process == os.getpid():  # signal 0 would end a process on Windows
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _replace_folder(staging: Path, path: Path) -> None:
    try:
        staging.rename(path)  # where nothing stands, or an empty folder
    except OSError:
        if not path.is_dir():
            raise
        old = _beside(path, "old")
        _discard(old)
        path.rename(old)
        try:
            staging.rename(path)
        except OSError:
            old.rename(path)
            raise
        with contextlib.suppress(OSError):  # the new one is in place; the next writer tries again
            _discard(old)


def _flush(path: Path) -> None:
    """Make sure that a file, or all of a folder, is on the disk and not only on its way."""
    if path.is_dir():
        for child in path.iterdir():
            _flush(child)
        _flush_folder(path)
        return
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def _flush_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    if os.name == "nt":  # has no way to
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise
    finally:
        os.close(descriptor)
