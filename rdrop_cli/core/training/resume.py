"""A training's run folder: made, or brought to where its newest whole checkpoint was saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import processes
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.best_model import export_best, exported_step
from rdrop_cli.core.runs.history import history_row, write_history
from rdrop_cli.core.runs.record import check_same_run, read_record, write_record
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.numbered import numbered_checkpoints, step_of
from rdrop_cli.errors import CheckpointError, StorageError

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.schema import Config


def begin_run(
    run: Path, config: Config, data: Prepared, record: Mapping[str, Any], *, overwrite: bool = False
) -> Start:
    """Make the run folder.

    Args:
        record: What data.json says beside the data: `model`, as `model_record` gives it, the kind of `device`, the
            number of `threads`, and as `fallbacks` the keys of the configuration that do not have the value asked for,
            with that value.
        overwrite: Remove a run that stands there.

    Raises:
        CheckpointError: a run stands there.
        StorageError: it cannot be written to.
    """
    if overwrite:
        layout.clear_run(run)
    if (run / layout.CONFIG).exists():
        raise CheckpointError(f"{run}: another training has begun here", "Give another --out.")
    write_record(run, config, data, record)
    return Start()


def resume_run(
    run: Path, config: Config, data: Prepared, record: Mapping[str, Any], notice: Callable[[str], None]
) -> Start:
    """Bring the run folder to where its newest whole checkpoint was saved.

    Args:
        record: As in `begin_run`.
        notice: Is told what will not be as in an uninterrupted run.

    Raises:
        DataError: the run began with other data.
        ModelError: it began with another model.
        StorageError: it cannot be written to.
    """
    check_same_run(run, data, record["model"])
    start = find_start(run)
    before = read_record(run) if (run / layout.DATA).is_file() else {}
    if before.get("device", record["device"]) != record["device"]:
        notice(
            f"This run began on {before['device']} and continues on {record['device']}: from here on its numbers will"
            " differ from an uninterrupted run"
        )
    fallbacks = {**(before.get("fallbacks") or {}), **record["fallbacks"]}
    if start.checkpoint is not None:
        check_same_processes(start.checkpoint, notice)
        restore_best(run, start.checkpoint, config, data)
        try:
            write_history(run / layout.HISTORY, log_history(start.checkpoint))
        except StorageError as error:
            notice(f"{error.message}; training continues, and its first entry tries again")
    write_record(run, config, data, {**record, "fallbacks": fallbacks})
    return start


STATE = layout.STATE


@dataclass(frozen=True)
class Start:
    """Where training begins.

    Attributes:
        checkpoint: To resume from; None: from the beginning.
        damaged: Newer checkpoints that cannot be used, and why.
    """

    checkpoint: Path | None = None
    damaged: Mapping[Path, str] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """Optimizer steps that are done."""
        return step_of(self.checkpoint) if self.checkpoint else 0


def find_start(run: Path) -> Start:
    """The newest checkpoint that is whole and whose best model is at hand or can be made again."""
    damaged: dict[Path, str] = {}
    for checkpoint in numbered_checkpoints(run / layout.CHECKPOINTS):
        fault = integrity.damage(checkpoint) or _wrong_state(checkpoint) or _lost_best(run, checkpoint)
        if fault is None:
            return Start(checkpoint, damaged)
        damaged[checkpoint] = fault
    return Start(None, damaged)


def restore_best(run: Path, checkpoint: Path, config: Config, data: Prepared) -> None:
    """Make best/ what it was when a checkpoint was saved, if it is not."""
    step = _best_step(checkpoint)
    if step and exported_step(run / layout.BEST) != step:
        export_best(checkpoint.with_name(f"checkpoint-{step}"), config, data, run / layout.BEST)


def log_history(checkpoint: Path) -> list[dict[str, Any]]:
    """What a training had logged when a checkpoint was saved."""
    history: list[dict[str, Any]] = layout.read_json(checkpoint / STATE)["log_history"]
    return history


def has_ended(checkpoint: Path) -> bool:
    """True when the checkpoint is its training's last one: every step done, or stopped early."""
    state = layout.read_json(checkpoint / STATE)
    if state["global_step"] >= state["max_steps"]:
        return True
    stopping = state["stateful_callbacks"].get("EarlyStoppingCallback")
    if not stopping:
        return False
    counter = stopping["attributes"]["early_stopping_patience_counter"]
    return bool(counter >= stopping["args"]["early_stopping_patience"])


def check_same_processes(checkpoint: Path, notice: Callable[[str], None]) -> None:
    """Say so when a checkpoint was saved by another number of processes: each has a random state of its own."""
    several = processes.world_size()
    states = {path.name for path in checkpoint.glob("rng_state*")}
    if states != ({f"rng_state_{rank}.pth" for rank in range(several)} if several > 1 else {"rng_state.pth"}):
        notice(
            f"{checkpoint.name} was saved by another number of processes: dropout will differ from an uninterrupted run"
        )


def check_random_state(device: str, notice: Callable[[str], None]) -> None:
    """Say so where a checkpoint lacks the device's random state: Transformers saves that of CPUs and CUDA alone.

    Args:
        device: Its type, as torch names it.
    """
    if device == "mps":
        notice("checkpoints hold no random state of an Apple GPU: dropout will differ from an uninterrupted run")


def _wrong_state(checkpoint: Path) -> str | None:
    try:
        has_ended(checkpoint)
        list(map(history_row, log_history(checkpoint)))
    except (CheckpointError, LookupError, TypeError, AttributeError, ValueError):
        return f"{STATE} is damaged"
    return None


def _best_step(checkpoint: Path) -> int | None:
    step = layout.read_json(checkpoint / STATE).get("best_global_step")
    return step if isinstance(step, int) else None


def _lost_best(run: Path, checkpoint: Path) -> str | None:
    step = _best_step(checkpoint)
    if not step or exported_step(run / layout.BEST) == step:
        return None
    source = checkpoint.with_name(f"checkpoint-{step}")
    if source == checkpoint or (fault := integrity.damage(source)) is None:
        return None
    return f"the best model, of step {step}, is lost with {source.name} ({fault})"
