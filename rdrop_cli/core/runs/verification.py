"""Whether runs are intact: weights and checkpoints by their manifests, records by being read. Only reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rdrop_cli.core.model.locate import check_model_folder
from rdrop_cli.core.progress import Progress, no_progress
from rdrop_cli.core.runs import layout, onnx_export, remedy
from rdrop_cli.core.runs.finding import find_runs, name_in, named_run, recorded_config
from rdrop_cli.core.runs.history import read_history
from rdrop_cli.core.runs.outputs import load_cost, load_predictions
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.runs.summary import read_metrics
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.lock import has_writer
from rdrop_cli.core.storage.numbered import numbered_checkpoints
from rdrop_cli.errors import CheckpointError, ConfigError, ModelError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable


Outcome = Literal["intact", "not checked", "damaged", "unreadable", "in use"]
_STAGE = "Verifying files"


@dataclass(frozen=True)
class RunVerification:
    """What verifying a run showed.

    Attributes:
        name: In its folder of runs.
        outcome: `not checked`: nothing is wrong, but a folder has no manifest; `unreadable`: the system refuses to read
            something, so that nothing can be said of the run; `in use`: a process writes to it.
        checked: Folders that have a manifest.
        unsealed: Folders that have none, so that it is not known whether their files have changed.
        faults: The first fault of each folder and each record, by its path.
        remedy: What to do about them; None where nothing is wrong.
    """

    name: str
    run: Path
    outcome: Outcome
    checked: tuple[Path, ...] = ()
    unsealed: tuple[Path, ...] = ()
    faults: dict[Path, str] | None = None
    remedy: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As `rdrop runs verify --json` prints it."""
        return {
            "name": self.name,
            "run": str(self.run),
            "outcome": self.outcome,
            "checked": [str(path) for path in self.checked],
            "no_manifest": [str(path) for path in self.unsealed],
            "faults": {str(path): fault for path, fault in (self.faults or {}).items()},
            "remedy": self.remedy,
        }


def verify_runs(
    names: Sequence[str] = (), folder: Path = layout.RUNS, on_progress: Progress = no_progress
) -> list[RunVerification]:
    """Verify the named runs, or all in a folder.

    Raises:
        CheckpointError: a name that is no run's, or no such folder.
    """
    runs = [named_run(name, folder) for name in names] if names else find_runs(folder)
    meter = _Meter(sum(map(_files_of, runs)), on_progress)
    return [_verify(run, name_in(folder, run), meter) for run in runs]


class _Meter:
    """Tells of files that are done; a folder counts intact when it is done, whatever was read of it."""

    def __init__(self, total: int, tell: Progress) -> None:
        self.total, self.tell = total, tell
        self._folders = self._files = 0

    def file(self) -> None:
        self._files += 1
        self._say(self._folders + self._files)

    def folder(self, files: int) -> None:
        self._folders, self._files = self._folders + files, 0
        self._say(self._folders)

    def _say(self, done: int) -> None:
        self.tell(_STAGE, min(done, self.total), self.total)


def _files_of(run: Path) -> int:
    try:
        return sum(map(_count_files, _weights(run)))
    except OSError:  # which its verification will say
        return 0


def _weights(run: Path) -> list[Path]:
    """The folders of a run that carry manifests: best/, its ONNX export, and the checkpoints."""
    best = run / layout.BEST
    exported = [best / onnx_export.FOLDER] if onnx_export.is_exported(best) else []
    return [*([best] if best.is_dir() else []), *exported, *numbered_checkpoints(run / layout.CHECKPOINTS)]


def _count_files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.iterdir())


def _verify(run: Path, name: str, meter: _Meter) -> RunVerification:
    if has_writer(run):
        return RunVerification(name, run, "in use")
    try:
        return _verify_files(run, name, meter)
    except OSError as error:
        path, fault = Path(error.filename or run), f"cannot be read ({error.strerror})"
    except StorageError as error:
        path, fault = run, error.message
    return RunVerification(name, run, "unreadable", faults={path: fault}, remedy=remedy.UNREADABLE)


def _verify_files(run: Path, name: str, meter: _Meter) -> RunVerification:
    """As `_verify`.

    Raises:
        OSError, StorageError: something is there and cannot be read.
    """
    faults = _record_faults(run)
    checked: list[Path] = []
    unsealed: list[Path] = []
    for folder in _weights(run):
        # An export without a manifest is not unsealed but unusable, which `folder_fault` says.
        is_sealed = folder.name == onnx_export.FOLDER or integrity.is_sealed(folder)
        (checked if is_sealed else unsealed).append(folder)
        if fault := folder_fault(folder, meter.file):
            faults[folder] = fault
        meter.folder(_count_files(folder))
    if faults and has_writer(run):  # a training has begun to write meanwhile, and may have removed what was missing
        return RunVerification(name, run, "in use")
    intact = [folder for folder in checked if folder not in faults]
    advice = remedy.advise(run, faults, intact) if faults else None
    outcome: Outcome = "damaged" if faults else "not checked" if unsealed else "intact"
    return RunVerification(name, run, outcome, tuple(checked), tuple(unsealed), faults, advice)


def folder_fault(folder: Path, on_file: Callable[[], None] | None = None) -> str | None:
    """What is wrong with best/, its ONNX export or a checkpoint; None: nothing, or it has no manifest.

    Raises:
        StorageError: a file exists but cannot be read.
    """
    if folder.name == onnx_export.FOLDER:
        return _export_fault(folder, on_file)
    if integrity.is_sealed(folder) and (fault := integrity.damage(folder, on_file)):
        return fault
    if folder.name != layout.BEST:
        return None
    try:
        check_model_folder(folder)
        for name in ("config.json", layout.CARD):  # which the manifest leaves out, as their owner may edit them
            layout.read_json(folder / name)
    except (CheckpointError, ModelError) as error:
        return error.message.removeprefix(f"{folder}: ")
    return None


def _export_fault(folder: Path, on_file: Callable[[], None] | None) -> str | None:
    try:
        export = onnx_export.read_export(folder)
    except CheckpointError as error:
        return error.message.removeprefix(f"{folder}/")
    if fault := integrity.damage(folder, on_file):
        return fault
    changed = onnx_export.changed_source(export)
    return f"is out of date, because {changed} has changed since the export" if changed else None


def _record_faults(run: Path) -> dict[Path, str]:
    """What is wrong with a run's records, by file."""
    is_finished = (run / layout.METRICS).exists()
    checks: dict[str, Callable[[Path], object]] = {layout.CONFIG: recorded_config}
    if is_finished or (run / layout.DATA).exists():
        checks[layout.DATA] = read_record
    if is_finished:
        checks[layout.METRICS] = read_metrics
        checks[layout.BEST] = _check_best
        # Runs of earlier versions have neither of these two, and without a test split there are no predictions.
        if (run / layout.COST).exists() or (run / layout.PREDICTIONS["test"]).exists():
            checks[layout.COST] = load_cost
    test, validation = layout.PREDICTIONS["test"], layout.PREDICTIONS["validation"]
    if (run / test).exists() or (is_finished and _has_test(run) and (run / layout.COST).exists()):
        checks[test] = load_predictions
    if (run / validation).exists():  # runs of earlier versions have none
        checks[validation] = partial(load_predictions, split="validation")
    if (run / layout.HISTORY).exists():
        checks[layout.HISTORY] = read_history
    faults = {}
    for name, check in checks.items():
        if (run / name).is_file():
            (run / name).open("rb").close()  # whether the system lets it be read is another matter than damage
        try:
            check(run)
        except (CheckpointError, ConfigError) as error:
            faults[run / name] = error.message.removeprefix(str(run / name)).lstrip(":, ")
    return faults


def _check_best(run: Path) -> None:
    if not (run / layout.BEST).is_dir():
        raise CheckpointError("folder not found")


def _has_test(run: Path) -> bool:
    try:
        return "test" in read_metrics(run)
    except CheckpointError:
        return False
