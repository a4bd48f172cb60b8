"""Writing files and folders so that a reader sees the old one or the new one, never a half.

A folder that replaces another is gone for the instant between two renames; a file never is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rdrop_cli.errors import DataError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; rename it into place when the block ends well, else remove it.

    Raises:
        DataError: no permission, no space, or another failure of the file system.
    """
    staging = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield staging
        if staging.is_dir():
            _replace_folder(staging, path)
        else:
            _flush(staging)
            staging.replace(path)
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be written ({error.strerror or error})") from error
    finally:
        if staging.is_dir():
            shutil.rmtree(staging, ignore_errors=True)
        elif staging.exists():
            staging.unlink()


@contextlib.contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """As `writing`, for a folder: it exists and is empty when the block begins."""
    with writing(path) as staging:
        staging.mkdir()
        yield staging


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or leave the old one."""
    with writing(path) as staging:
        staging.write_text(text, encoding="utf-8")


def user_path(name: str | Path) -> Path:
    """A path with `~` resolved; a `~user` that does not exist stays as it is."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def _replace_folder(staging: Path, path: Path) -> None:
    try:
        staging.rename(path)  # where nothing stands, or an empty folder
    except OSError:
        if not path.is_dir():
            raise
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        path.rename(old)
        staging.rename(path)
        shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
