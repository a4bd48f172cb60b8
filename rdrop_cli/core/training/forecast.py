"""Estimate the time, memory and disk space of a training from a few measured steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from rdrop_cli.core.model import device as devices
from rdrop_cli.core.model import memory
from rdrop_cli.core.trainer.sampler import LengthGroupedSampler
from rdrop_cli.core.training.failures import SMALLER

if TYPE_CHECKING:
    from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer
    from rdrop_cli.core.training.run import TrainingRun
    from rdrop_cli.core.training.set_up import TrainingSetup
    from rdrop_cli.schema import Config

_FEWEST, _MOST, _SECONDS = 4, 12, 20.0
"""Fewest and most batches to time, each twice, and about how many seconds that may take."""


@dataclass(frozen=True)
class Forecast:
    """Expected cost of a run.

    Attributes:
        steps: Optimizer steps of the run.
        timed_steps: How many steps were measured.
        seconds_per_step: Mean seconds for one step.
        seconds: Training with all its evaluations.
        evaluation_seconds: One evaluation on the validation split.
        peak_memory: Bytes of device memory, or of process memory on a CPU.
        disk: Bytes of disk space.
    """

    steps: int
    timed_steps: int
    seconds_per_step: float
    seconds: float
    evaluation_seconds: float
    peak_memory: int
    disk: int


def forecast(training: TrainingRun, *, seconds: float = _SECONDS) -> Forecast:
    """Time a few optimizer steps and evaluation batches of a training that has not begun.

    The first step uses the most expensive batch of an epoch, so its memory is the run's peak. The other batches range
    from short to long and represent the whole epoch. The steps change the model's weights, and nothing else.

    Args:
        seconds: About how long the timing may take.
    """
    ready = training.set_up()
    with TemporaryDirectory() as folder:
        trainer = training.trainer(folder=Path(folder), is_trial=True)
        if ready.config.train.gradient_checkpointing:
            ready.model.activation_checkpointing_enable()
        with devices.map_memory_errors(ready.device, SMALLER):
            return _measure(ready, trainer, seconds)


def _measure(ready: TrainingSetup, trainer: RDropTrainer, seconds: float) -> Forecast:
    train = ready.config.train
    dataset = ready.datasets["train"]
    sampler = LengthGroupedSampler(dataset.lengths, train.batch_size, train.seed, group=train.group_by_length)
    order = list(sampler)
    batches = [order[start : start + train.batch_size] for start in range(0, len(order), train.batch_size)]
    widths = np.array([dataset.lengths[batch].max() for batch in batches])
    cost = widths * np.array([len(batch) for batch in batches])

    trainer.create_optimizer_and_scheduler(num_training_steps=ready.steps_in_epoch * train.epochs)
    model, optimizer = trainer.accelerator.prepare(trainer.model, trainer.optimizer)

    def seconds_of(index: int) -> float:
        began = time.perf_counter()
        _step(ready, trainer, model, optimizer, batches[index])
        return time.perf_counter() - began

    seconds_of(int(cost.argmax()))  # the peak of memory; also the warm-up
    longest = seconds_of(int(cost.argmax()))
    count = min(len(batches), max(_FEWEST, min(_MOST, int(seconds / longest / 2))))
    # Sort the batches by cost, cut them into `count` equal groups and time the middle one of each: their mean
    # estimates the mean of all batches.
    chosen = np.argsort(cost, kind="stable")[((np.arange(count) + 0.5) * len(batches) / count).astype(int)]
    first = np.array([seconds_of(index) for index in chosen])
    again = np.array([seconds_of(index) for index in chosen])
    # The first batch of each width is slower because kernels are prepared for it. This cost occurs once per width.
    starting = len(set(widths.tolist())) * max(0.0, float((first - again).mean()))

    step_seconds = float(again.mean())
    evaluation_seconds = _evaluation_seconds(ready, model)
    return Forecast(
        steps=len(batches) * train.epochs,
        timed_steps=2 * (count + 1),
        seconds_per_step=step_seconds,
        seconds=train.epochs * (step_seconds * len(batches) + evaluation_seconds) + starting,
        evaluation_seconds=evaluation_seconds,
        peak_memory=memory.peak_memory(ready.device),
        disk=disk_needed(memory.weight_bytes(ready.model), [ready.config]),
    )


def _step(
    ready: TrainingSetup, trainer: RDropTrainer, model: torch.nn.Module, optimizer: object, batch: list[int]
) -> None:
    wanted = ready.config.train.micro_batch_size
    micro = wanted if isinstance(wanted, int) else len(batch)  # with `auto`, the trainer divides the batch itself
    for start in range(0, len(batch), micro):
        rows = [ready.datasets["train"][index] for index in batch[start : start + micro]]
        trainer.training_step(model, dict(ready.collate(rows)), len(batch))
    optimizer.step()  # type: ignore[attr-defined]
    model.zero_grad()
    if ready.device.type == "cuda":
        torch.cuda.synchronize(ready.device)


def _evaluation_seconds(ready: TrainingSetup, model: torch.nn.Module) -> float:
    dataset = ready.datasets["validation"].by_length()
    size = ready.config.train.eval_batch_size
    starts = range(0, len(dataset), size)
    chosen = list(starts)[:: max(1, len(starts) // 3)]
    model.eval()
    began = time.perf_counter()
    with torch.inference_mode(), devices.autocast(ready.device, ready.precision):
        for start in chosen:
            rows = [dataset[index] for index in range(start, min(start + size, len(dataset)))]
            batch = ready.collate([{k: v for k, v in row.items() if k != "labels"} for row in rows])
            model(**{name: value.to(ready.device) for name, value in batch.items()}).logits.float().cpu()
    return (time.perf_counter() - began) * len(starts) / len(chosen)


def disk_needed(weights: int, configs: Sequence[Config], at_once: int = 1) -> int:
    """Bytes of disk that trainings take, of which so many run at once.

    Each keeps best/, with the weights. Those that run also have checkpoints, with the weights, perhaps their average,
    and two moments: beside the kept ones the best one, and the one being saved.

    Args:
        weights: Bytes of the model's weights.
    """
    if not configs:
        return 0
    sets = 4 if any(config.train.ema for config in configs) else 3
    checkpoints = max(config.train.keep_checkpoints for config in configs) + 2
    return weights * (len(configs) + sets * checkpoints * min(at_once, len(configs)))
