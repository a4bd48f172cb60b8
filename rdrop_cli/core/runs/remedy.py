"""What to do about a damaged run, as resuming and comparing will do it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from rdrop_cli.core.runs import layout, onnx_export
from rdrop_cli.core.runs.finding import comparison_of
from rdrop_cli.core.storage import shell
from rdrop_cli.core.storage.numbered import numbered_checkpoints
from rdrop_cli.errors import CheckpointError

UNREADABLE = "Check the permissions and the disk, then verify it again; a file that cannot be read need not be damaged."


def advise(run: Path, faulty: Collection[Path], intact: Collection[Path]) -> str:
    """A sentence or two: what brings the run back, or what can be done without.

    Args:
        faulty: Records, best/, its ONNX export and checkpoints with a fault.
        intact: best/ and checkpoints that were found to be as they were written.
    """
    best = run / layout.BEST
    exported = best / onnx_export.FOLDER
    if exported in faulty:
        again = f"Export it again with: {_command('export', run)}."
        rest = [path for path in faulty if path != exported]
        return f"{advise(run, rest, intact)} Then: {_command('export', run)}." if rest else again
    checkpoints = numbered_checkpoints(run / layout.CHECKPOINTS)
    usable = f" best/ is intact and can be used: {_command('predict', '--checkpoint', best)}." if best in intact else ""
    if run / layout.CONFIG in faulty:
        names = [path.relative_to(run).as_posix() + ("/" if path.is_dir() else "") for path in faulty]
        listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        return f"Restore {listed} from a copy, or train again.{usable}"
    if run / layout.DATA in faulty:
        return f"{_again(run)}{usable}"
    if not (run / layout.METRICS).exists():
        return _resuming(run, checkpoints, intact)
    if all(path in checkpoints for path in faulty):
        removing = shell.join(["rdrop", "runs", "rm", "--checkpoints", str(run)])
        return f"The run has finished and no longer needs its checkpoints; remove them with: {removing}."
    source = _source(checkpoints, intact, best in intact)
    if source is not None:
        resume = layout.resume_command(run)
        return f"Delete {run / layout.METRICS}; then {resume} {source} and evaluates it again."
    if best in intact:
        return f"{usable.lstrip()} To evaluate it again: {_command('evaluate', run)}. {_again(run)}"
    return _again(run)


def _resuming(run: Path, checkpoints: Collection[Path], intact: Collection[Path]) -> str:
    sentence = f"Resume with: {layout.resume_command(run)};"
    if not any(path in intact for path in checkpoints):
        return f"{sentence} no checkpoint is intact, so training starts over."
    return f"{sentence} it skips damaged checkpoints and restores a damaged best/."


def _source(checkpoints: Collection[Path], intact: Collection[Path], is_best_intact: bool) -> str | None:
    """What resuming a finished run makes its best model from; None where nothing is left to make it from."""
    newest = next((path for path in checkpoints if path in intact), None)
    if newest is None:
        return None
    try:
        step = layout.read_json(newest / layout.STATE).get("best_global_step")
    except CheckpointError:
        return None
    if is_best_intact:
        return f"resumes from {newest.name}"
    source = newest.with_name(f"checkpoint-{step}")
    return f"restores best/ from {source.name}" if source in intact else None


def _again(run: Path) -> str:
    """How to train a run anew."""
    if comparison_of(run) is not None:
        remove = shell.join(["rdrop", "runs", "rm", str(run)])
        return f"Remove it with {remove}; the same rdrop compare command trains it again."
    config = str(run / layout.CONFIG)
    command = shell.join(["rdrop", "train", "--config", config, "--out", str(run), "--overwrite"])
    return f"Train it again with: {command}."


def _command(*words: object) -> str:
    return shell.join(["rdrop", *map(str, words)])
