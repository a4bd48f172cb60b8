"""What a training will take, from a few measured steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from rdrop_cli.core import device as devices
from rdrop_cli.core.sampler import LengthGroupedSampler
from rdrop_cli.core.trainer import RDropTrainer
from rdrop_cli.core.training import SMALLER, Training

_WARM_UP, _TIMED = 2, 8


@dataclass(frozen=True)
class Forecast:
    """Expected cost of a run: seconds, bytes of device (or process) memory, bytes of disk."""

    steps: int
    timed_steps: int
    seconds_per_step: float
    seconds: float
    peak_memory: int
    disk: int


def forecast(training: Training) -> Forecast:
    """Time a few optimizer steps and evaluation batches of a training that has not begun.

    The first step has the longest batch of an epoch, so the memory it takes is the run's peak. Time per padded token
    is measured on batches spread over the epoch and carried over to all of them. The model is used up.
    """
    with TemporaryDirectory() as folder:
        training.run = Path(folder)
        training.config.train.tensorboard = False
        trainer = training.trainer()
        if training.config.train.gradient_checkpointing:
            training.model.activation_checkpointing_enable()
        with devices.naming_memory_errors(training.device, SMALLER):
            return _measure(training, trainer)


def _measure(training: Training, trainer: RDropTrainer) -> Forecast:
    train = training.config.train
    dataset = training.datasets["train"]
    sampler = LengthGroupedSampler(dataset.lengths, train.batch_size, train.seed, group=train.group_by_length)
    order = list(sampler)
    batches = [order[start : start + train.batch_size] for start in range(0, len(order), train.batch_size)]
    cost = np.array([dataset.lengths[batch].max() * len(batch) for batch in batches], dtype=np.float64)
    spread = np.linspace(0, len(batches) - 1, min(_WARM_UP + _TIMED, len(batches))).astype(int)

    trainer.create_optimizer_and_scheduler(num_training_steps=training.steps_in_epoch * train.epochs)
    model, optimizer = trainer.accelerator.prepare(trainer.model, trainer.optimizer)
    seconds = []
    for index in spread:
        began = time.perf_counter()
        _step(training, trainer, model, optimizer, batches[index])
        seconds.append(time.perf_counter() - began)
    timed = slice(min(_WARM_UP, len(spread) - 1), None)
    per_token = sum(seconds[timed]) / cost[spread[timed]].sum()
    epoch_seconds = per_token * cost.sum()

    return Forecast(
        steps=len(batches) * train.epochs,
        timed_steps=len(spread),
        seconds_per_step=epoch_seconds / len(batches),
        seconds=train.epochs * (epoch_seconds + _evaluation_seconds(training, model)),
        peak_memory=devices.peak_memory(training.device),
        disk=_disk(training),
    )


def _step(
    training: Training, trainer: RDropTrainer, model: torch.nn.Module, optimizer: object, batch: list[int]
) -> None:
    micro = training.config.train.micro_batch_size or len(batch)
    for start in range(0, len(batch), micro):
        rows = [training.datasets["train"][index] for index in batch[start : start + micro]]
        trainer.training_step(model, dict(training.collate(rows)), len(batch))
    optimizer.step()  # type: ignore[attr-defined]
    model.zero_grad()
    if training.device.type == "cuda":
        torch.cuda.synchronize(training.device)


def _evaluation_seconds(training: Training, model: torch.nn.Module) -> float:
    dataset = training.datasets["validation"].by_length()
    size = training.config.train.eval_batch_size
    starts = range(0, len(dataset), size)
    chosen = list(starts)[:: max(1, len(starts) // 3)]
    model.eval()
    began = time.perf_counter()
    with torch.inference_mode(), devices.autocast(training.device, training.precision):
        for start in chosen:
            rows = [dataset[index] for index in range(start, min(start + size, len(dataset)))]
            batch = training.collate([{k: v for k, v in row.items() if k != "labels"} for row in rows])
            model(**{name: value.to(training.device) for name, value in batch.items()}).logits.float().cpu()
    return (time.perf_counter() - began) * len(starts) / len(chosen)


def _disk(training: Training) -> int:
    """Weights in best/, and weights with two moments in each kept checkpoint."""
    weights = sum(parameter.numel() * parameter.element_size() for parameter in training.model.parameters())
    return weights * (1 + 3 * training.config.train.keep_checkpoints)
