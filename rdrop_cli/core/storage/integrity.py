"""How damage is found before it does harm: a folder's manifest of sizes and SHA-256, and records that are signed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from rdrop_cli.core.storage.once import once_a_version
from rdrop_cli.errors import StorageError

MANIFEST = "manifest.json"
_FORMAT = 1
_CHECKSUM = "sha256"


def seal(folder: Path, *, leave_out: Collection[str] = ()) -> None:
    """Write the manifest of a folder that is complete.

    Args:
        leave_out: Names of files that may change later.
    """
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {MANIFEST, *leave_out}
    }
    content = json.dumps({"format": _FORMAT, "files": files}, indent=2)
    (folder / MANIFEST).write_text(content + "\n", encoding="utf-8")


def is_sealed(folder: Path) -> bool:
    """True for a folder with a manifest."""
    return (folder / MANIFEST).is_file()


def damage(folder: Path, on_file: Callable[[], None] | None = None) -> str | None:
    """What is wrong with a sealed folder's files, the first fault only; None: nothing. Files may have been added.

    Args:
        on_file: Is called when a file has been read.

    Raises:
        StorageError: a file is there and cannot be read, so that nothing can be said of it.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        recorded = {str(name): (int(entry["size"]), str(entry["sha256"])) for name, entry in files.items()}
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except OSError as error:
        raise _unreadable(folder / MANIFEST, error) from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return f"{MANIFEST} is damaged"
    try:
        for name, (size, _) in recorded.items():  # all sizes first, as they cost nothing
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size:,} bytes, {size:,} were written"
        for name, (_, digest) in recorded.items():
            if sha256_of(folder / name) != digest:
                return f"{name} is not what was written (its SHA-256 differs)"
            if on_file is not None:
                on_file()
    except OSError as error:
        raise _unreadable(folder, error) from error
    return None


def with_checksum(content: Mapping[str, Any]) -> str:
    """A record as JSON that says when it was changed by another hand: with the SHA-256 of the rest of it."""
    rest = {key: value for key, value in content.items() if key != _CHECKSUM}
    return json.dumps({**rest, _CHECKSUM: _checksum(rest)}, indent=2) + "\n"


def checksum_holds(content: object) -> bool:
    """True for a record as `with_checksum` wrote it."""
    if not isinstance(content, dict) or _CHECKSUM not in content:
        return False
    rest = {key: value for key, value in content.items() if key != _CHECKSUM}
    return bool(content[_CHECKSUM] == _checksum(rest))


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{error.filename or path}: cannot be read ({error.strerror})")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


sha256_once = once_a_version(sha256_of)
"""As `sha256_of`, for models and data that are only read; not for looking whether a file is damaged."""


def weights_fingerprint(folder: Path) -> str:
    """SHA-256 over a model's weights as they are stored."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(bytes.fromhex(sha256_once(path)))
    return digest.hexdigest()
