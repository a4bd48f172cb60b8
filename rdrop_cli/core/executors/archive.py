"""A folder as bytes, to send it to another machine."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from rdrop_cli.errors import DataError


def pack(folder: Path, names: Iterable[Path]) -> bytes:
    """Files of a folder as an archive, without compression: weights would not become smaller.

    Args:
        names: Paths below the folder.

    Raises:
        OSError: one cannot be read.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(names):
            archive.writestr(path.relative_to(folder).as_posix(), path.read_bytes())
    return content.getvalue()


def unpack(content: bytes, folder: Path) -> None:
    """Write the files of an archive below a folder, after a check of all names and checksums.

    Raises:
        DataError: it is damaged, or a name leads out of the folder.
        OSError: a file cannot be written.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            for name in names:
                if not _stays_inside(name):
                    raise DataError(f"{folder}: received a file named {name!r}, which is not written")
            for name in names:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
    except zipfile.BadZipFile as error:
        raise DataError(f"{folder}: what was received for it is damaged") from error


def _stays_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    windows = PureWindowsPath(name)
    return bool(parts) and not name.startswith("/") and ".." not in (*parts, *windows.parts) and not windows.anchor
