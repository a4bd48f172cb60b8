"""Start a run folder, or return it to the state of its newest intact checkpoint.

A kill can come between any two writes of a run: checkpoint, best/, history.csv, data.json. On resuming, the newest
intact checkpoint decides, and everything else is brought into line with it: best/ is saved again if it is from
another step, and history.csv is rewritten from the checkpoint's log. A checkpoint counts as intact only if its best
model is still available, because training may never improve on it and would then end without a best model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import processes
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.best_model import save_best, step_of_best
from rdrop_cli.core.runs.history import history_row, write_history
from rdrop_cli.core.runs.record import check_same_run, read_record, write_record
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.numbered import numbered_checkpoints, step_of
from rdrop_cli.errors import CheckpointError, StorageError

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.schema import Config


@dataclass(frozen=True)
class ResumePoint:
    """Where training begins.

    Attributes:
        checkpoint: The checkpoint to resume from; None: begin at step 0.
        damaged: Newer checkpoints that cannot be used, each with the reason.
    """

    checkpoint: Path | None = None
    damaged: Mapping[Path, str] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """The number of optimizer steps already done."""
        return step_of(self.checkpoint) if self.checkpoint else 0


def begin_run(
    run: Path, config: Config, data: Prepared, record: Mapping[str, Any], *, overwrite: bool = False
) -> ResumePoint:
    """Start a run in a folder.

    Args:
        record: The content of data.json besides the data: `model`, as `model_record` gives it, the type of `device`,
            the number of `threads`, and `fallbacks`, the requested value of each key that had to be replaced.
        overwrite: Remove a run that the folder contains.

    Raises:
        CheckpointError: the folder contains a run.
        StorageError: it cannot be written to.
    """
    if overwrite:
        layout.clear_run(run)
    if (run / layout.CONFIG).exists():
        raise CheckpointError(f"{run}: another training has begun in this folder", "Give another --out.")
    write_record(run, config, data, record)
    return ResumePoint()


def resume_run(
    run: Path, config: Config, data: Prepared, record: Mapping[str, Any], notice: Callable[[str], None]
) -> ResumePoint:
    """Return the run folder to the state of its newest intact checkpoint.

    Args:
        record: As in `begin_run`.
        notice: Called with one line about each difference to an uninterrupted run.

    Raises:
        DataError: the data has changed since the run began.
        ModelError: the model has changed since the run began.
        StorageError: the folder cannot be written to.
    """
    check_same_run(run, data, record["model"])
    start = find_resume_point(run)
    before = read_record(run) if (run / layout.DATA).is_file() else {}
    if before.get("device", record["device"]) != record["device"]:
        notice(
            f"This run began on {before['device']} and continues on {record['device']}, so its results will differ from"
            " those of an uninterrupted run"
        )
    # The configuration has the fallbacks in place of the requested values, so this session finds none of them again.
    fallbacks = {**(before.get("fallbacks") or {}), **record["fallbacks"]}
    if start.checkpoint is not None:
        check_same_processes(start.checkpoint, notice)
        restore_best(run, start.checkpoint, config, data)
        try:
            write_history(run / layout.HISTORY, log_history(start.checkpoint))
        except StorageError as error:
            notice(f"{error.message}; training continues and tries again with its first entry")
    # Last: until everything is restored, the record of the earlier session stays.
    write_record(run, config, data, {**record, "fallbacks": fallbacks})
    return start


def find_resume_point(run: Path) -> ResumePoint:
    """The newest intact checkpoint whose best model is available or can be saved again."""
    damaged: dict[Path, str] = {}
    for checkpoint in numbered_checkpoints(run / layout.CHECKPOINTS):
        fault = integrity.damage(checkpoint) or _wrong_state(checkpoint) or _lost_best(run, checkpoint)
        if fault is None:
            return ResumePoint(checkpoint, damaged)
        damaged[checkpoint] = fault
    return ResumePoint(None, damaged)


def restore_best(run: Path, checkpoint: Path, config: Config, data: Prepared) -> None:
    """Save best/ again if it is not the best model at the time a checkpoint was saved."""
    step = _best_step(checkpoint)
    if step and step_of_best(run / layout.BEST) != step:
        save_best(checkpoint.with_name(f"checkpoint-{step}"), config, data, run / layout.BEST)


def log_history(checkpoint: Path) -> list[dict[str, Any]]:
    """The log history of a training at the time a checkpoint was saved."""
    history: list[dict[str, Any]] = layout.read_json(checkpoint / layout.STATE)["log_history"]
    return history


def has_ended(checkpoint: Path) -> bool:
    """True if training had ended when the checkpoint was saved: all steps were done, or it was stopped early.

    A run that was killed in its final evaluation has such a checkpoint, and must not be trained further.
    """
    state = layout.read_json(checkpoint / layout.STATE)
    if state["global_step"] >= state["max_steps"]:
        return True
    stopping = state["stateful_callbacks"].get("EarlyStoppingCallback")
    if not stopping:
        return False
    counter = stopping["attributes"]["early_stopping_patience_counter"]
    return bool(counter >= stopping["args"]["early_stopping_patience"])


def check_same_processes(checkpoint: Path, notice: Callable[[str], None]) -> None:
    """Give notice if a checkpoint was saved by another number of processes, since each has its own random state."""
    several = processes.world_size()
    states = {path.name for path in checkpoint.glob("rng_state*")}
    if states != ({f"rng_state_{rank}.pth" for rank in range(several)} if several > 1 else {"rng_state.pth"}):
        notice(
            f"{checkpoint.name} was saved by another number of processes, so dropout masks will differ from those of an"
            " uninterrupted run"
        )


def check_random_state(device: str, notice: Callable[[str], None]) -> None:
    """Give notice if checkpoints lack the device's random state: Transformers saves only those of CPUs and CUDA.

    Args:
        device: The device's type, as torch names it.
        notice: Called with one line.
    """
    if device == "mps":
        notice(
            "Checkpoints do not contain the random state of an Apple GPU, so dropout masks will differ from those of an"
            " uninterrupted run"
        )


def _wrong_state(checkpoint: Path) -> str | None:
    try:
        has_ended(checkpoint)
        list(map(history_row, log_history(checkpoint)))
    except (CheckpointError, LookupError, TypeError, AttributeError, ValueError):
        return f"{layout.STATE} is damaged"
    return None


def _best_step(checkpoint: Path) -> int | None:
    step = layout.read_json(checkpoint / layout.STATE).get("best_global_step")
    return step if isinstance(step, int) else None


def _lost_best(run: Path, checkpoint: Path) -> str | None:
    step = _best_step(checkpoint)
    if not step or step_of_best(run / layout.BEST) == step:
        return None
    # best/ is from another step, or damaged. It can be saved again from the best step's checkpoint, if that is intact;
    # if it is this checkpoint, `find_resume_point` has just checked it.
    source = checkpoint.with_name(f"checkpoint-{step}")
    if source == checkpoint or (fault := integrity.damage(source)) is None:
        return None
    return f"the best model, from step {step}, cannot be restored because {source.name} is unusable ({fault})"
