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
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from transformers import TrainerCallback

from rdrop_cli.core.storage.numbered import RAW_WEIGHTS
from rdrop_cli.core.trainer.checkpointing import WholeCheckpoints

_STEPS = "averaged_steps"
"""Key of the metadata of `RAW_WEIGHTS`: how many steps have been averaged."""


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
        weights = {name: weight.contiguous() for name, weight in self._raw.items()}
        save_file(weights, path, metadata={_STEPS: str(int(self._averaged.n_averaged))})

    def load(self, path: Path) -> None:
        """Take the model's weights as the average, and give it those that `save` wrote to a file."""
        with torch.no_grad():
            for mine, weight in zip(self._averaged.module.parameters(), self._model.parameters(), strict=True):
                mine.copy_(weight)
        with safe_open(path, framework="pt") as raw:
            self._averaged.n_averaged.fill_(int(raw.metadata()[_STEPS]))
            self._set(raw.get_tensor(name) for name, _ in self._model.named_parameters())

    def _set(self, weights: Any) -> None:
        with torch.no_grad():
            for parameter, weight in zip(self._model.parameters(), weights, strict=True):
                parameter.copy_(weight)

    def _average(self, averaged: Sequence[Tensor], current: Sequence[Tensor], _: Tensor | int) -> None:
        count = int(self._averaged.n_averaged)
        decay = min(self.decay, (1 + count) / (10 + count))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)


class AveragedWeights(WholeCheckpoints):
    """A Trainer that evaluates and saves the average of the weights, and trains on with the weights themselves.

    Args:
        ema: The average's decay; 0: there is no average.

    Raises:
        ValueError: the decay is not from 0 to below 1.
    """

    def __init__(self, *args: Any, ema: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not 0 <= ema < 1:
            raise ValueError(f"ema must be at least 0 and less than 1, got {ema}")
        self.ema = ema
        self.average: WeightAverage | None = None
        if ema:
            self.add_callback(_UpdateAverage(self))

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Like the base class; an average of the weights of an earlier call is dropped."""
        self.average = None
        return super().train(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Like the base class, with the averaged weights."""
        with self._averaged():
            metrics: dict[str, float] = super().evaluate(*args, **kwargs)
        return metrics

    def write_extras(self, folder: Path) -> None:
        """Write the weights themselves, for a resumed run."""
        super().write_extras(folder)
        if self.average is not None:
            self.average.save(folder / RAW_WEIGHTS)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        with self._averaged():
            super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self.ema and checkpoint is not None:
            self.average = WeightAverage(self.model, self.ema)
            self.average.load(Path(checkpoint, RAW_WEIGHTS))

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        return self.average.in_place() if self.average is not None else contextlib.nullcontext()


class _UpdateAverage(TrainerCallback):
    """Takes the weights into the average after each optimizer step, before they are evaluated or saved."""

    def __init__(self, trainer: AveragedWeights) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer.average is None:  # else it was resumed
            self.trainer.average = WeightAverage(self.trainer.model, self.trainer.ema)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        assert self.trainer.average is not None
        self.trainer.average.update()
