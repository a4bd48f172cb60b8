"""Detect damage before it does harm: a manifest of sizes and SHA-256 for a folder, and records with a checksum."""

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
    """Write the manifest of a complete folder.

    Args:
        leave_out: Names of files that may change later.
    """
    content = json.dumps({"format": _FORMAT, "files": listing(folder, leave_out=leave_out)}, indent=2)
    (folder / MANIFEST).write_text(content + "\n", encoding="utf-8")


def listing(folder: Path, *, leave_out: Collection[str] = ()) -> dict[str, dict[str, int | str]]:
    """The size and SHA-256 of each file of a folder, as a manifest records them."""
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {MANIFEST, *leave_out}
    }


def is_sealed(folder: Path) -> bool:
    """True for a folder with a manifest."""
    return (folder / MANIFEST).is_file()


def damage(
    folder: Path, on_file: Callable[[], None] | None = None, *, only: Collection[str] | None = None
) -> str | None:
    """The first fault in a sealed folder's files; None: they are intact. Added files are not a fault.

    Args:
        on_file: Is called when a file has been read.
        only: Names of the files to check; None: all.

    Raises:
        StorageError: a file exists but cannot be read, so that it cannot be checked.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        recorded = {
            str(name): (int(entry["size"]), str(entry["sha256"]))
            for name, entry in files.items()
            if only is None or name in only
        }
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except OSError as error:
        raise _unreadable(folder / MANIFEST, error) from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return f"{MANIFEST} is damaged"
    if only is not None and (unknown := sorted(set(only) - recorded.keys())):
        return f"{unknown[0]} is not recorded in {MANIFEST}"
    try:
        for name, (size, _) in recorded.items():  # all sizes first: that is fast
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size:,} bytes instead of {size:,}"
        for name, (_, digest) in recorded.items():
            if sha256_of(folder / name) != digest:
                return f"{name} has changed since it was written (its SHA-256 differs)"
            if on_file is not None:
                on_file()
    except OSError as error:
        raise _unreadable(folder, error) from error
    return None


def recorded_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file as a folder's manifest records it; empty if there is no manifest, or a damaged one."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {str(name): str(entry["sha256"]) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def with_checksum(content: Mapping[str, Any]) -> str:
    """A record as JSON, with the SHA-256 of its content as one more key, so that later changes are detected."""
    rest = {key: value for key, value in content.items() if key != _CHECKSUM}
    return json.dumps({**rest, _CHECKSUM: _checksum(rest)}, indent=2) + "\n"


def checksum_holds(content: object) -> bool:
    """True for a record that is unchanged since `with_checksum` wrote it."""
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
"""`sha256_of` with a cache, to identify models and data; not to detect damage, for which a file must be read again."""


def weights_fingerprint(folder: Path) -> str:
    """SHA-256 over a model's weight files."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(bytes.fromhex(sha256_once(path)))
    return digest.hexdigest()
