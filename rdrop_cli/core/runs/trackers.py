"""What a run has sent to experiment trackers: which run there it is, and up to which step.

A resumed training continues the same run there, and sends no step twice.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rdrop_cli.core.runs import layout
from rdrop_cli.core.storage.extras import TRACKERS
from rdrop_cli.core.storage.files import write_text
from rdrop_cli.errors import CheckpointError


@dataclass
class TrackerProgress:
    """What one tracker has received.

    Attributes:
        id: The run's id there; None: it has none yet.
        steps: The newest step of each kind of entry, such as train and validation.
        is_complete: The final metrics have been sent, too.
    """

    id: str | None = None
    steps: dict[str, int] = field(default_factory=dict)
    is_complete: bool = False


def check_trackers(names: Sequence[str]) -> None:
    """Make sure that the packages of trackers are installed, without importing them.

    Raises:
        ConfigError: one is not; the hint says how to install it.
    """
    for name in names:
        if name in TRACKERS:
            TRACKERS[name].require("train.report_to")


def load_sent(run: Path) -> dict[str, TrackerProgress]:
    """What trackers have received, by name; a missing or damaged record counts as nothing."""
    with contextlib.suppress(CheckpointError, TypeError, AttributeError):
        progress = {name: TrackerProgress(**sent) for name, sent in layout.read_json(run / layout.TRACKERS).items()}
        if all(layout.is_number(step) for each in progress.values() for step in each.steps.values()):
            return progress
    return {}


def save_sent(run: Path, sent: dict[str, TrackerProgress]) -> None:
    """Record what trackers have received.

    Raises:
        StorageError: it cannot be written.
    """
    document = {name: asdict(each) for name, each in sent.items()}
    write_text(run / layout.TRACKERS, json.dumps(document, indent=2) + "\n")
