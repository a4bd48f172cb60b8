"""Write files and folders atomically: a reader sees the old version or the new one, never a partial one.

New content is written to a hidden path beside its target, flushed to disk, and then renamed, so that a kill or a power
cut at any instant leaves the old version or the new one. There is one exception: when a folder replaces another, the
old one has a hidden name between two renames, and `sweep` or the next writer restores it. Nothing is removed before its
replacement is on the disk. `benchmarks/crash_test.py` simulates the kills and power cuts.
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
"""Errors from file systems that cannot flush a folder, or the drive itself."""
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8) if os.name == "nt" else ()
"""Seconds between attempts at a rename that Windows refuses while another program has the file open."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it into place if the block succeeds, else remove it.

    Raises:
        StorageError: no permission, no space, or another failure of the file system.
    """
    path = path.resolve() if path.is_symlink() else path  # keep the link, replace its target
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
    """Like `writing`, but for a folder, which exists and is empty when the block begins."""
    with writing(path) as staging:
        staging.mkdir()
        yield staging


def write_text(path: Path, text: str) -> None:
    """Write a text file in full, or leave the old one unchanged.

    Raises:
        StorageError: it cannot be written.
    """
    with writing(path) as staging:
        staging.write_text(text, encoding="utf-8")


def make_folder(path: Path) -> None:
    """Make a folder and its parents, durably: a power cut loses neither the folder nor files flushed there later.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        _make_folder(path)
        _flush_folder(path.parent)  # also if it exists: its maker may have been killed before flushing
    except OSError as error:
        raise unwritable(path, error) from error


def flush_folder(path: Path) -> None:
    """Make the entries of a folder durable: what was created, renamed and removed in it.

    Raises:
        StorageError: the disk reports an error.
    """
    try:
        _flush_folder(path)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> StorageError:
    """The error for a failure of the file system; it names `path` rather than the hidden path beside it."""
    return StorageError(f"{path}: cannot be written ({error.strerror or error})")


def staging_of(path: Path) -> Path:
    """The path where this process writes what will become `path`; `sweep` recognises it by its name."""
    return _beside(path, "partial")


def is_leftover(path: Path) -> bool:
    """True for a file or folder that a killed writer left behind."""
    return _LEFTOVER.fullmatch(path.name) is not None


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder, and restore what one was about to replace.

    Call this only for a folder that no other process writes to.

    Raises:
        StorageError: something cannot be removed.
    """
    for leftover in sorted(folder.glob(".*")):
        if match := _LEFTOVER.fullmatch(leftover.name):
            _settle(leftover, folder / match["name"], match["kind"])


def user_path(name: str | Path) -> Path:
    """A path with `~` expanded; `~user` is kept when there is no such user.

    Raises:
        StorageError: the name is not UTF-8, so that it could not be recorded.
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
    """Like `sweep`, but for one path and only for dead writers on this machine: others may still be running.

    A folder is listed once, at this process's first write there, since listing a large folder takes longer than writing
    a small file. If a writer is killed after that, the next process removes what it left.
    """
    for leftover in _leftovers(os.getpid(), path.parent.absolute()):
        match = _LEFTOVER.fullmatch(leftover.name)
        if match is None or match["name"] != path.name:
            continue
        if not leftover.exists():  # removed or restored since the listing
            continue
        if match["host"] == _host() and _is_dead(int(match["process"])):
            _settle(leftover, path, match["kind"])


@functools.cache
def _leftovers(process: int, folder: Path) -> tuple[Path, ...]:
    """Leftovers and files being written in a folder when this process first asked; a forked process asks again."""
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
    if os.name == "nt":  # os.kill would terminate it there
        import psutil

        return not psutil.pid_exists(process)
    # Not psutil: it reads /proc, which may hide other users' processes.
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
        _flush_folder(path.parent)  # otherwise a power cut could empty the old one and lose the new one
        with contextlib.suppress(OSError):  # the new one is in place; the next writer tries again
            _discard(old)


def _flush(path: Path) -> None:
    """Flush a file, or everything in a folder, to the disk."""
    if path.is_dir():
        for child in path.iterdir():
            _flush(child)
        _flush_folder(path)
        return
    with path.open("r+b") as stream:
        _sync(stream.fileno())


def _flush_folder(path: Path) -> None:
    """Make the entries of a folder durable."""
    if os.name == "nt":  # Windows cannot flush a folder
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder may be writable but not readable; the system flushes it eventually
        return
    try:
        _sync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    """Wait until an open file is on the disk; on macOS, fsync only passes it to the drive, so F_FULLFSYNC is used."""
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
    """Rename, replacing a file; on Windows, retry while a virus scanner or a spreadsheet briefly has it open."""
    for pause in _PAUSES:
        try:
            source.replace(target)
            return
        except PermissionError:
            time.sleep(pause)
    source.replace(target)
