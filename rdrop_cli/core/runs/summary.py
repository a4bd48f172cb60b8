"""What a run came to, as its records tell: of a damaged run what can still be read, with what is wrong. Only reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.finding import find_runs, name_in, recorded_config
from rdrop_cli.core.runs.history import read_history
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.storage.lock import has_writer
from rdrop_cli.core.storage.numbered import numbered_checkpoints, step_of
from rdrop_cli.errors import CheckpointError, RDropError

if TYPE_CHECKING:
    from rdrop_cli.schema import Config

State = Literal["finished", "unfinished", "in use", "damaged"]
Read = TypeVar("Read")
PARTS = (layout.BEST, layout.CHECKPOINTS, layout.TENSORBOARD)
"""What takes a run's disk space; the rest of it is small."""
_NO_NUMBERS = ("per_class", "undefined")


@dataclass(frozen=True)
class Summary:
    """A run.

    Attributes:
        name: In its folder of runs.
        state: `in use`: a process writes to it now; `damaged`: a record cannot be used, or a part is missing.
        faults: What is wrong with its records.
        config: None where it cannot be read.
        record: What data.json says; empty where it cannot be read, or is not yet written.
        metrics: By split; empty where the run has not finished.
        disk: Bytes by part: best, checkpoints, tensorboard, other.
        written: When it last wrote a record, in seconds since 1970.
        step: Optimizer steps that are done; of an unfinished run, that are saved. None: not known.
        epoch: The same in epochs.
    """

    name: str
    folder: Path
    state: State
    faults: tuple[str, ...]
    config: Config | None
    record: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    disk: Mapping[str, int]
    written: float
    step: int | None = None
    epoch: float | None = None

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(self.disk.values())

    def as_dict(self) -> dict[str, Any]:
        """As `rdrop runs --json` prints it."""
        config = self.config
        return {
            "name": self.name,
            "run": str(self.folder),
            "state": self.state,
            "faults": list(self.faults),
            "data": config.data.source if config else None,
            "model": config.model.name if config else None,
            "alpha": config.rdrop.alpha if config else None,
            "seed": config.train.seed if config else None,
            "epochs": config.train.epochs if config else None,
            "epoch": self.epoch,
            "step": self.step,
            "metrics": dict(self.metrics),
            "bytes": self.size,
            "written": datetime.fromtimestamp(self.written, UTC).isoformat(timespec="seconds"),
        }


@dataclass
class Attempts:
    """Reads what can be read, and keeps the reasons why the rest cannot."""

    faults: list[str] = field(default_factory=list)

    def __call__(self, read: Callable[[], Read]) -> Read | None:
        try:
            return read()
        except RDropError as error:
            self.faults.append(error.message)
        except OSError as error:
            self.faults.append(f"{error.filename}: cannot be read ({error.strerror})")
        return None


def list_runs(folder: Path = layout.RUNS) -> list[Summary]:
    """The runs in a folder, the one that wrote last first.

    Raises:
        CheckpointError: no such folder, or it is a run itself.
        OSError: it cannot be read.
    """
    runs = [summarize(run, name_in(folder, run)) for run in find_runs(folder)]
    return sorted(runs, key=lambda run: run.written, reverse=True)


def summarize(run: Path, name: str | None = None) -> Summary:
    """A run's summary, also of a damaged one."""
    attempt = Attempts()
    in_use = has_writer(run)
    is_finished = is_there(run / layout.METRICS)
    config = attempt(lambda: recorded_config(run))
    record = attempt(lambda: read_record(run)) if is_finished or is_there(run / layout.DATA) else {}
    metrics = attempt(lambda: read_metrics(run)) if is_finished else {}
    if is_finished and not is_there(run / layout.BEST):
        attempt.faults.append(f"{run / layout.BEST}: folder not found")
    step, epoch = (None, None) if is_finished else (_logged(run) if in_use else _saved(run))
    state: State = "in use" if in_use else "damaged" if attempt.faults else "finished" if is_finished else "unfinished"
    return Summary(
        name=name or str(run),
        folder=run,
        state=state,
        faults=tuple(attempt.faults),
        config=config,
        record=record or {},
        metrics=metrics or {},
        disk=disk_use(run),
        written=layout.last_written(run),
        step=step,
        epoch=epoch,
    )


def read_metrics(run: Path) -> dict[str, dict[str, Any]]:
    """The metrics of a finished run, by split.

    Raises:
        CheckpointError: missing or damaged.
    """
    content = layout.read_json(run / layout.METRICS)
    if not all(map(_are_metrics, content.values())):
        raise CheckpointError(f"{run / layout.METRICS}: holds no metrics")
    return content


def _are_metrics(values: object) -> bool:
    if not isinstance(values, dict) or not isinstance(values.get("undefined", {}), dict):
        return False
    per_class = values.get("per_class", [])
    if not isinstance(per_class, list) or not all(isinstance(each, dict) for each in per_class):
        return False
    return all(value is None or layout.is_number(value) for name, value in values.items() if name not in _NO_NUMBERS)


def disk_use(run: Path) -> dict[str, int]:
    """Bytes of a run's files by part; what links lead to is not counted, nor what cannot be read."""
    sizes = dict.fromkeys((*PARTS, "other"), 0)
    for folder, _, names in os.walk(run):
        first = Path(folder).relative_to(run).parts[:1]
        part = first[0] if first and first[0] in PARTS else "other"
        sizes[part] += sum(_size(Path(folder, name)) for name in names)
    return sizes


def is_there(path: Path) -> bool:
    """As `Path.exists`, but False, not an error, in a folder that may not be looked into."""
    try:
        return path.exists()
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # a training has just removed or renamed it
        return 0


def _logged(run: Path) -> tuple[int | None, float | None]:
    """Step and epoch of the newest entry in history.csv."""
    try:
        last = read_history(run)[-1]
    except (CheckpointError, IndexError):
        return None, None
    step, epoch = last.get("step"), last.get("epoch")
    return (int(step), epoch) if step is not None and epoch is not None else (None, None)


def _saved(run: Path) -> tuple[int | None, float | None]:
    """Step and epoch of the newest checkpoint."""
    try:
        checkpoints = numbered_checkpoints(run / layout.CHECKPOINTS)
        if not checkpoints:
            return 0, 0.0
        epoch = layout.read_json(checkpoints[0] / layout.STATE).get("epoch")
    except (CheckpointError, OSError):
        return None, None
    return step_of(checkpoints[0]), float(epoch) if layout.is_number(epoch) else None
