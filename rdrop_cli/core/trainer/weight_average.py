"""An exponential moving average of the weights, PyTorch's `AveragedModel`, which is evaluated and saved in their place.

The decay rises with the number of averaged steps t, as min(decay, (1 + t) / (10 + t)), so that the weights from which a
training begins are forgotten however short it is; TensorFlow's ExponentialMovingAverage does so with `num_updates`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

RAW_WEIGHTS = "raw_weights.safetensors"
"""A file in a checkpoint with the weights that training continues with; its model has the averaged ones."""


class WeightAverage:
    """The average of a model's weights over the steps of a training.

    Args:
        model: The model in training, on its device.
        decay: The largest share of the old average in the new one.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._model = model
        self._raw: dict[str, Tensor] = {}
        self._averaged = AveragedModel(model, multi_avg_fn=self._average)

    @property
    def steps(self) -> int:
        """How many steps have been averaged."""
        return int(self._averaged.n_averaged)

    def update(self) -> None:
        """Take the weights after a step into the average."""
        self._averaged.update_parameters(self._model)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the averaged weights while the block runs."""
        self._raw = {name: parameter.detach().clone() for name, parameter in self._model.named_parameters()}
        self._set(self._averaged.module.parameters())
        try:
            yield
        finally:
            self._set(self._raw.values())
            self._raw = {}

    def save(self, path: Path) -> None:
        """Write the weights that training continues with to a file, while the model has the averaged ones."""
        save_file({name: weight.contiguous() for name, weight in self._raw.items()}, path)

    def load(self, path: Path, steps: int) -> None:
        """Take the model's weights as the average over `steps` steps, and give it those that `save` wrote to a file."""
        with torch.no_grad():
            for mine, weight in zip(self._averaged.module.parameters(), self._model.parameters(), strict=True):
                mine.copy_(weight)
        self._averaged.n_averaged.fill_(steps)
        raw = load_file(path)
        self._set(raw[name] for name, _ in self._model.named_parameters())

    def _set(self, weights: Any) -> None:
        with torch.no_grad():
            for parameter, weight in zip(self._model.parameters(), weights, strict=True):
                parameter.copy_(weight)

    def _average(self, averaged: Sequence[Tensor], current: Sequence[Tensor], _: Tensor | int) -> None:
        count = self.steps
        decay = min(self.decay, (1 + count) / (10 + count))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)
