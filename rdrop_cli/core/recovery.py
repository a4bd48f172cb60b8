"""Where a run goes on after whatever stopped it, and the proof that it is the same run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdrop_cli import processes
from rdrop_cli.core import checkpoints, manifest, prepared
from rdrop_cli.core.callbacks import history_row
from rdrop_cli.core.export import data_record, export, exported_step
from rdrop_cli.core.prepared import Prepared
from rdrop_cli.errors import CheckpointError, DataError, ModelError
from rdrop_cli.schema import Config

STATE = "trainer_state.json"
_PAD_AS_BEFORE = {"pad_token_id": None}
"""Earlier versions recorded what the model's configuration said, before training took the tokenizer's."""


@dataclass(frozen=True)
class Start:
    """Where training begins.

    Attributes:
        checkpoint: To go on from; None: from the beginning.
        damaged: Newer checkpoints that cannot be used, and why.
    """

    checkpoint: Path | None = None
    damaged: Mapping[Path, str] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """Optimizer steps that are done."""
        return checkpoints.step_of(self.checkpoint) if self.checkpoint else 0


def find_start(run: Path) -> Start:
    """The newest checkpoint that is whole and whose best model is at hand or can be made again."""
    damaged: dict[Path, str] = {}
    for checkpoint in checkpoints.numbered(run / checkpoints.CHECKPOINTS):
        fault = manifest.damage(checkpoint) or _wrong_state(checkpoint) or _lost_best(run, checkpoint)
        if fault is None:
            return Start(checkpoint, damaged)
        damaged[checkpoint] = fault
    return Start(None, damaged)


def restore_best(run: Path, checkpoint: Path, config: Config, data: Prepared) -> None:
    """Make best/ what it was when a checkpoint was saved, if it is not."""
    step = _best_step(checkpoint)
    if step and exported_step(run / checkpoints.BEST) != step:
        export(checkpoint.with_name(f"checkpoint-{step}"), config, data, run / checkpoints.BEST)


def log_history(checkpoint: Path) -> list[dict[str, Any]]:
    """What a training had logged when a checkpoint was saved."""
    history: list[dict[str, Any]] = checkpoints.read_json(checkpoint / STATE)["log_history"]
    return history


def has_ended(checkpoint: Path) -> bool:
    """True when the checkpoint is its training's last one: every step done, or stopped early."""
    state = checkpoints.read_json(checkpoint / STATE)
    if state["global_step"] >= state["max_steps"]:
        return True
    stopping = state["stateful_callbacks"].get("EarlyStoppingCallback")
    if not stopping:
        return False
    counter = stopping["attributes"]["early_stopping_patience_counter"]
    return bool(counter >= stopping["args"]["early_stopping_patience"])


def check_same_run(run: Path, data: Prepared, model: Mapping[str, Any]) -> None:
    """Make sure that a run goes on with the examples, the tokenizer and the kind of model it began with.

    Args:
        model: As `opening.model_record` gives it.

    Raises:
        DataError: the data has changed; with the difference.
        ModelError: the model has.
    """
    if not (run / checkpoints.DATA).is_file():
        return  # stopped before it was written, and so before the first step
    recorded = checkpoints.read_record(run)
    if recorded.get("fingerprint") != data.fingerprint:
        raise DataError(
            f"{run}: its data has changed since: {_difference(recorded, data)}",
            "Bring the old data back, or train a new run.",
        )
    before = recorded.get("model")
    if not isinstance(before, dict):
        return  # runs of earlier versions recorded less
    if (before.get("config") or {}).get("pad_token_id") is None:
        model = {**model, "config": {**(model.get("config") or {}), **_PAD_AS_BEFORE}}
        before = {**before, "config": {**before["config"], **_PAD_AS_BEFORE}} if "config" in before else before
    if before == {key: model.get(key) for key in before}:
        return
    old, new = (content.get("config") or {} for content in (before, model))
    other = "other weights" if before.get("tokenizer") == model.get("tokenizer") else "another tokenizer"
    changed = [f"{key}: {old.get(key)} -> {new.get(key)}" for key in {**old, **new} if old.get(key) != new.get(key)]
    raise ModelError(
        f"{run}: its model has changed since: {'; '.join(changed) or other}",
        "Bring the old one back, or train a new run.",
    )


def check_same_processes(checkpoint: Path, notice: Callable[[str], None]) -> None:
    """Say so when a checkpoint was saved by another number of processes: each has a random state of its own."""
    several = processes.count()
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
    step = checkpoints.read_json(checkpoint / STATE).get("best_global_step")
    return step if isinstance(step, int) else None


def _lost_best(run: Path, checkpoint: Path) -> str | None:
    step = _best_step(checkpoint)
    if not step or exported_step(run / checkpoints.BEST) == step:
        return None
    source = checkpoint.with_name(f"checkpoint-{step}")
    if source == checkpoint or (fault := manifest.damage(source)) is None:
        return None
    return f"the best model, of step {step}, is lost with {source.name} ({fault})"


def _difference(recorded: Mapping[str, Any], data: Prepared) -> str:
    """How the data differs from what a run recorded of it, as closely as can still be told."""
    now = data_record(data)
    changes = []
    for key in ("labels", "splits", "columns"):
        before, after = recorded.get(key), now[key]
        if before != after:
            changes.append(f"{key} {before} -> {after}")
    old = prepared.of_record(recorded)
    if old is not None:
        before, after = _rows(old), _rows(data)
        new, gone = (after - before).total(), (before - after).total()
        changes.append(f"{new:,} examples are new, {gone:,} are gone" if new or gone else "another order")
        example = next(iter(after - before or before - after), None)
        if example is not None:
            changes.append(f"such as {example[1][:60]!r} ({example[-1]}, in {example[0]})")
    return "; ".join(changes) or "other texts or labels"


def _rows(data: Prepared) -> Counter[tuple[str, str, str, str]]:
    """Every example: split, text, second text, label."""
    return Counter(
        (name, text, split.pairs[index] if split.pairs else "", data.labels.names[split.labels[index]])
        for name, split in data.splits.items()
        for index, text in enumerate(split.texts)
    )
