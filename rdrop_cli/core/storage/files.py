"""Writing files and folders so that a reader sees the old one or the new one, never a half.

What is written stands beside its place first, is flushed to the disk, and is then renamed: a kill or a power cut at any
instant leaves the old one or the new one. The one exception is a folder that replaces another: between two renames the
old one is there under a hidden name, from which `sweep` and the next writer put it back. Nothing is removed before what
replaces it is on the disk. `benchmarks/crash_test.py` plays the kills and the power cuts.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from rdrop_cli.errors import StorageError

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<host>[^.]*)-(?P<process>\d+)\.(?P<kind>partial|old)")
_NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.ENOTTY, errno.EBADF}
"""What file systems answer that cannot flush a folder, or the drive itself."""
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8) if os.name == "nt" else ()
"""Seconds to wait before a refused rename is tried again: on Windows, while another program has the file open."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; rename it into place when the block ends well, else remove it.

    Raises:
        StorageError: no permission, no space, or another failure of the file system.
    """
    path = path.resolve() if path.is_symlink() else path  # a link stays, what it leads to is replaced
    staging = staging_of(path)
    try:
        _make_folder(path.parent)
        _discard(staging)
        _sweep_after_the_dead(path)
        yield staging
        _flush(staging)
        if staging.is_dir():
            _replace_folder(staging, path)
        else:
            if path.is_file():
                shutil.copymode(path, staging)
            _rename(staging, path)
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


def make_folder(path: Path) -> None:
    """Make a folder with its parents, such that a power cut does not take it and all that is written there.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        _make_folder(path)
        _flush_folder(path.parent)  # also where it exists: what made it may have been killed before this
    except OSError as error:
        raise unwritable(path, error) from error


def flush_folder(path: Path) -> None:
    """Make durable which names are in a folder: what was made, renamed and removed there.

    Raises:
        StorageError: the disk refuses.
    """
    try:
        _flush_folder(path)
    except OSError as error:
        raise unwritable(path, error) from error


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
        if match := _LEFTOVER.fullmatch(leftover.name):
            _settle(leftover, folder / match["name"], match["kind"])


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
    """As `sweep`, for one path and for writers of this machine that are no more: others may be at work.

    The folder is listed at this process's first write there: to list a large one takes longer than to write a small
    file. What a writer that is killed later leaves is cleared away by the next process.
    """
    for leftover in _leftovers(os.getpid(), path.parent.absolute()):
        match = _LEFTOVER.fullmatch(leftover.name)
        if match is None or match["name"] != path.name or not leftover.exists():  # one may be settled by now
            continue
        if match["host"] == _host() and _is_dead(int(match["process"])):
            _settle(leftover, path, match["kind"])


@functools.cache
def _leftovers(process: int, folder: Path) -> tuple[Path, ...]:
    """What writers had left in a folder, or were at, when a process first asked; a forked one asks for itself."""
    return tuple(sorted(filter(is_leftover, folder.glob(".*"))))


def _settle(leftover: Path, path: Path, kind: str) -> None:
    try:
        if kind == "old" and not path.exists():
            _rename(leftover, path)
        else:
            _discard(leftover)
    except OSError as error:
        raise unwritable(path, error) from error


def _is_dead(process: int) -> bool:
    if os.name == "nt":  # where os.kill would end it
        import psutil

        return not psutil.pid_exists(process)
    # psutil looks into /proc, where other users' processes can be hidden.
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _replace_folder(staging: Path, path: Path) -> None:
    if not path.exists():
        _rename(staging, path)
    elif not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    else:
        old = _beside(path, "old")
        _discard(old)
        _rename(path, old)
        try:
            _rename(staging, path)
        except OSError:
            _rename(old, path)
            raise
        _flush_folder(path.parent)  # or a power cut could empty the old one and not bring the new one
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
        _sync(stream.fileno())


def _flush_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    if os.name == "nt":  # has no way to
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # may be written to but not read, so it is left to the system
        return
    try:
        _sync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    """Wait until what is open here is on the disk: on macOS, where fsync only hands it to the drive, on its platter."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        try:
            fcntl.fcntl(descriptor, full)
            return
        except OSError as error:
            if error.errno not in _NO_FLUSH:
                raise
    os.fsync(descriptor)


def _make_folder(path: Path) -> None:
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(made):
        _flush_folder(folder.parent)


def _rename(source: Path, target: Path) -> None:
    """Rename, replacing a file; on Windows also one that a virus scanner or a spreadsheet is just about to close."""
    for pause in _PAUSES:
        try:
            source.replace(target)
            return
        except PermissionError:
            time.sleep(pause)
    source.replace(target)
