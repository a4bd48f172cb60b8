"""What a folder with the predictions of many files records: by which model, with which settings, from which files.

`_predictions.json` has the settings, which are the same for all parts. Each finished part has a record of its own below
`.parts/`, so that several processes may predict into the same folder. Tools that read a folder of tables pass over both
names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import __version__
from rdrop_cli.core.storage.files import make_folder, write_text
from rdrop_cli.errors import DataError

if TYPE_CHECKING:
    from rdrop_cli.core.inference.parts import Part, Parts

SETTINGS = "_predictions.json"
RECORDS = ".parts"
_FORMAT = 1
_WORDS = {
    "input": "input folder",
    "input_format": "--input-format",
    "model": "model (its files differ)",
    "labels": "names of the classes",
    "max_length": "maximum length",
    "abstain_below": "--abstain-below",
}
"""Settings for display, where their keys are no words."""


@dataclass(frozen=True)
class PartRecord:
    """A finished part.

    Attributes:
        settings: The digest of the settings.
        size: Of the input file in bytes.
        modified: The input file's time stamp in nanoseconds.
        written: The size of the predictions in bytes.
        rows: The number of predictions.
        problems: How many of them are for rows without a usable text.
        first_problem: Where the first of these is and what is wrong with it.
        labels: How many predictions have each label.
        without_label: How many have none.
        columns: The columns that were read.
    """

    settings: str
    size: int
    modified: int
    written: int
    rows: int
    problems: int = 0
    first_problem: str = ""
    labels: Mapping[str, int] = field(default_factory=dict)
    without_label: int = 0
    columns: Mapping[str, str | None] = field(default_factory=dict)


def digest_of(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def claim(parts: Parts, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Make the folder for the predictions, or make sure that it has predictions with the same settings.

    Args:
        settings: Whatever the predictions depend on.
        overwrite: Replace predictions with other settings, and files that are no predictions.

    Raises:
        DataError: it has something else.
        StorageError: it cannot be written to.
    """
    path = parts.output / SETTINGS
    recorded = _read(path)
    if recorded.get("settings") == settings:
        return
    if not overwrite:
        hint = "Give another --output, or replace what is there with --overwrite."
        if recorded:
            changed = _difference(recorded.get("settings"), settings)
            raise DataError(f"{parts.output}: has predictions with other settings: {changed}", hint)
        if there := next((part for part in parts.all if part.target.exists()), None):
            raise DataError(f"{there.target}: exists already, and is not known to be of these predictions", hint)
    make_folder(parts.output)
    write_text(path, json.dumps({"format": _FORMAT, "rdrop": __version__, "settings": settings}, indent=2) + "\n")


def read_part(parts: Parts, part: Part) -> PartRecord | None:
    """What is recorded of a part; None: nothing, or nothing that can be read."""
    fields = _read(_path(parts.output, part))
    try:
        return PartRecord(**fields)
    except TypeError:
        return None


def is_finished(part: Part, record: PartRecord | None, digest: str) -> bool:
    """Whether the predictions of a part are there, with these settings, and its input has not changed since.

    Args:
        digest: Of the settings.
    """
    if record is None or record.settings != digest or has_changed(part, record):
        return False
    try:
        return part.target.stat().st_size == record.written
    except OSError:
        return False


def has_changed(part: Part, record: PartRecord) -> bool:
    """Whether the input of a part has changed since."""
    return (record.size, record.modified) != (part.size, part.modified)


def write_part(output: Path, part: Part, record: PartRecord) -> None:
    """Record that a part is finished.

    Args:
        output: The folder with the predictions.

    Raises:
        StorageError: it cannot be written.
    """
    write_text(_path(output, part), json.dumps(asdict(record), indent=1) + "\n")


def _path(output: Path, part: Part) -> Path:
    return output / RECORDS / f"{part.target.relative_to(output).as_posix()}.json"


def _read(path: Path) -> dict[str, Any]:
    """A record; empty if there is none, or none that can be read: it only saves work."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _difference(recorded: object, settings: Mapping[str, Any]) -> str:
    """What differs, in words."""
    old = recorded if isinstance(recorded, dict) else {}
    names = [name for name in settings if old.get(name) != settings[name]]
    return "; ".join(
        _WORDS.get(name, name)
        if isinstance(settings[name], str) and len(settings[name]) == 64
        else f"{_WORDS.get(name, name)} {_shown(old.get(name))} instead of {_shown(settings[name])}"
        for name in names
    )


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items() if item is not None) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value[:5]))
    return "none" if value is None else str(value)
