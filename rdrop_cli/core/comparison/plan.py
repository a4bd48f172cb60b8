"""Estimate the time and disk space that the remaining cells of a comparison need."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from safetensors import safe_open

from rdrop_cli import wording
from rdrop_cli.core.comparison.observer import ComparisonPlan
from rdrop_cli.core.model.loading import map_loading_errors
from rdrop_cli.core.model.locate import fetch_model, locate_model
from rdrop_cli.core.model.memory import give_back_memory, weight_bytes
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.outputs import load_cost
from rdrop_cli.core.training.final_evaluation import TRAIN_SAMPLE
from rdrop_cli.core.training.forecast import disk_needed, forecast
from rdrop_cli.core.training.run import TrainingRun
from rdrop_cli.errors import StorageError

if TYPE_CHECKING:
    from rdrop_cli.core.comparison.grid import Cell
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.core.training.observer import Observer
    from rdrop_cli.schema import Config

_TIMING = 6.0
"""Seconds to spend on timing arms of the same speed."""
_NOT_OF_A_STEP = (
    "alpha", "lr", "weight_decay", "warmup", "schedule", "max_grad_norm", "label_smoothing", "class_weights", "seed",
    "epochs", "early_stopping", "metric",
)  # fmt: skip
"""Keys that do not affect how long a step takes (alpha only if it is 0)."""


def make_plan(
    cells: Sequence[Cell], data: Prepared, folder: Path, observer: Observer, at_once: int = 1, *, is_here: bool = True
) -> ComparisonPlan:
    """Estimate the remaining work from finished cells or, if there are none of an arm's speed, from a few timed steps.

    Steps are not timed for other machines. If finished cells do not tell the speed, the plan then has the number of
    passes over a batch for each cell, in place of seconds.

    Args:
        folder: The comparison's folder.
        observer: Receives the progress before steps can be timed.
        at_once: How many cells are trained at the same time.
        is_here: They are trained on this machine.

    Raises:
        StorageError: there is not enough disk space.
    """
    done = [cell for cell in cells if cell.is_done]
    left = [cell for cell in cells if not cell.is_done]
    rates = {_kind(cell.config): rate for cell in done if (rate := _recorded_rate(cell))}
    weights = max(map(_weights, done), default=0)
    if not is_here and (unknown := [cell for cell in left if _kind(cell.config) not in rates]):
        rates = {_kind(cell.config): float(cell.arm.passes) for cell in left}
        weights = max(weights, _model_size(unknown[0].config, observer))
    else:
        unknown = []
    for cell in left:
        if _kind(cell.config) not in rates:
            rates[_kind(cell.config)], size = time_cell(cell, data, observer)
            weights = max(weights, size)
    seconds = [rates[_kind(cell.config)] * _steps(cell.config, data) for cell in left]
    disk = disk_needed(weights, [cell.config for cell in left], at_once)
    plan = ComparisonPlan(left, seconds, disk, at_once, is_timed=not unknown)
    _check_space(plan, folder)
    return plan


def time_cell(cell: Cell, data: Prepared, observer: Observer) -> tuple[float, int]:
    """Seconds per step, including a share of loading and evaluation; and bytes of the model's weights."""
    began = time.perf_counter()
    with TemporaryDirectory() as folder:
        training = TrainingRun(cell.config, Path(folder) / "run", observer=observer)
        ready = training.set_up()
    loading = time.perf_counter() - began
    estimate = forecast(training, seconds=_TIMING)
    sizes = {name: len(split) for name, split in data.splits.items()}
    measured = min(sizes["train"], TRAIN_SAMPLE) + sizes["validation"] + sizes["test"]
    total = estimate.seconds + loading + estimate.evaluation_seconds * measured / sizes["validation"]
    weights = weight_bytes(ready.model)
    del training, ready
    give_back_memory()
    return total / estimate.steps, weights


def _check_space(plan: ComparisonPlan, folder: Path) -> None:
    if not plan.cells:
        return
    free = free_space(folder)
    if free < plan.disk:
        raise StorageError(
            f"{folder}: {len(plan.cells)} runs need about {wording.size(plan.disk)} of disk space, but only"
            f" {wording.size(free)} are free",
            "Free some space, or give an --out on another disk.",
        )


def free_space(folder: Path) -> int:
    """Free bytes on the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.is_dir())).free


def _kind(config: Config) -> str:
    """A key that is equal for configurations whose steps take the same time."""
    tree = config.model_dump(include={"model", "rdrop", "train"})
    for group in ("rdrop", "train"):
        tree[group] = {key: value for key, value in tree[group].items() if key not in _NOT_OF_A_STEP}
    return repr((config.rdrop.passes_per_example, tree))


def _steps(config: Config, data: Prepared) -> int:
    return -(-len(data.splits["train"]) // config.train.batch_size) * config.train.epochs


def _recorded_rate(cell: Cell) -> float | None:
    """Seconds per step of a finished cell; None if its training was interrupted, or they are not recorded."""
    cost = load_cost(cell.folder)
    if cost.get("resumed_from_step") or not cost.get("steps") or cost.get("wall_seconds") is None:
        return None
    return float(cost["wall_seconds"]) / int(cost["steps"])


def _model_size(config: Config, observer: Observer) -> int:
    return weights_in(Path(fetch_model(locate_model(config.model, config.hub), config.model.revision, observer.stage)))


def weights_in(folder: Path) -> int:
    """Bytes that a base model's weights take in float32; 0 if they are not in safetensors files.

    Raises:
        ModelError: a file is damaged.
    """
    count = 0
    for path in folder.glob("*.safetensors"):
        with map_loading_errors(str(path), "model"), safe_open(path, framework="numpy") as weights:
            count += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return 4 * count


def _weights(cell: Cell) -> int:
    return sum(path.stat().st_size for path in (cell.folder / layout.BEST).glob("*.safetensors"))
