"""Paths of this machine, which must not be published."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdrop_cli.core.data.prepare import is_local
from rdrop_cli.core.runs import finding
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.storage import hub, starter
from rdrop_cli.core.storage.files import user_path
from rdrop_cli.errors import CheckpointError, ConfigError

_TAIL = r"(?:[/\\][^\s`'\"<>|)\]]*)?"
"""The rest of a path below a known folder."""


@dataclass(frozen=True)
class LocalPaths:
    """Paths to hide.

    Attributes:
        whole: Paths of data and models, which may contain spaces.
        folders: Folders, everything below which is hidden too.
    """

    whole: tuple[str, ...]
    folders: tuple[str, ...]

    @classmethod
    def of_run(cls, run: Path) -> LocalPaths:
        """The paths that a run's records mention, and the folders of this user."""
        whole = [str(run.resolve()), *_recorded(run)]
        folders = [str(path) for path in (Path.cwd(), Path.home(), run.resolve().parent) if len(path.parts) > 1]
        return cls(*(tuple(sorted(set(paths), key=len, reverse=True)) for paths in (whole, folders)))

    def hide(self, text: str) -> str:
        """The text with only the last part of each of these paths."""
        for path in self.whole:
            text = re.sub(rf"(?<![\w./\\-]){re.escape(path)}(?![\w-])", lambda match: _last(match[0]), text)
        for path in self.folders:
            text = re.sub(rf"(?<![\w.-]){re.escape(path)}(?![\w-]){_TAIL}", lambda match: _last(match[0]), text)
        return text


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _recorded(run: Path) -> Iterable[str]:
    """Paths of the model and the data, as the run records them and in full."""
    named: list[Any] = []
    try:
        config = finding.recorded_config(run)
        named += [config.data.source, config.model.name]
    except (CheckpointError, ConfigError):
        pass
    try:
        record = read_record(run)
        named += [record["source"]["name"], record.get("prepared")]
    except (CheckpointError, LookupError, TypeError):
        pass
    for name in named:
        if isinstance(name, str) and _is_path(name):
            yield from (name, str(user_path(name).resolve()))


def _is_path(name: str) -> bool:
    """True for a path with a folder in it; a file's name alone says nothing about the machine."""
    if not re.search(r"[/\\]", name) or name == starter.MODEL_NAME:
        return False
    return is_local(name) or user_path(name).exists() or not hub.looks_like_id(hub.parse_dataset(name)[0])
