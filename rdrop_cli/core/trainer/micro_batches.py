"""Optimizer steps in as many pieces as the memory asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn

from rdrop_cli.core.model.device import is_out_of_memory
from rdrop_cli.core.trainer.checkpointing import WholeCheckpoints
from rdrop_cli.core.trainer.loss_meter import LossMeter


class MicroBatches(WholeCheckpoints):
    """A Trainer that repeats a step in halves when memory runs out, and keeps to that size.

    The loss must divide by the examples of the whole step itself.

    Args:
        auto_micro_batch: Divide steps; for one process, with `gradient_accumulation_steps` of 1.
        on_micro_batch: Is told the new number of examples in a forward pass.

    Attributes:
        micro_batch: Examples in a forward pass at most; None: steps are never divided.
        meter: Adds up what forward passes give; a step that is repeated counts once.
    """

    def __init__(
        self,
        *args: Any,
        auto_micro_batch: bool = False,
        on_micro_batch: Callable[[int], None] = lambda size: None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.micro_batch = self.args.train_batch_size if auto_micro_batch else None
        self.on_micro_batch = on_micro_batch
        self.meter = LossMeter()

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward over a batch; with `auto_micro_batch` in as many pieces as the memory asks for.

        On a GPU the first step has the room that it will have later, when the optimizer holds its moments: the longest
        batch comes first, so what does not fit fails here.
        """
        moments = missing_moments(self.optimizer) if self.args.device.type == "cuda" else 0
        reserved = torch.empty(moments, dtype=torch.uint8, device=self.args.device) if moments else None
        with _staying_in_training(model):
            loss = self._forward_backward(model, inputs, num_items_in_batch)
        del reserved
        return loss

    def _forward_backward(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None
    ) -> Tensor:
        while self.micro_batch is not None:
            before = self.meter.copy()
            try:
                return self._in_pieces(model, inputs, self.micro_batch, num_items_in_batch)
            except RuntimeError as error:
                if self.micro_batch == 1 or not is_out_of_memory(error):
                    raise
            # Out of the except block, so that what the failed forward pass holds is free by now.
            self.meter = before
            model.zero_grad()
            clear_device_cache(garbage_collection=True)
            self.micro_batch = -(-self.micro_batch // 2)
            self.on_micro_batch(self.micro_batch)
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        return loss

    def _in_pieces(
        self, model: nn.Module, inputs: dict[str, Any], size: int, num_items_in_batch: Tensor | int | None
    ) -> Tensor:
        rows = len(inputs["labels"])
        total = torch.zeros((), device=self.args.device)
        for start in range(0, rows, size):
            piece = {
                name: value[start : start + size] if isinstance(value, Tensor) and value.shape[:1] == (rows,) else value
                for name, value in inputs.items()
            }
            total = total + super().training_step(model, piece, num_items_in_batch)
        return total


@contextlib.contextmanager
def _staying_in_training(model: nn.Module) -> Iterator[None]:
    """While the block runs, `model.train()` of a model that is training does nothing: it would visit every module."""
    if not model.training:
        yield
        return
    model.__dict__["train"] = lambda mode=True: model
    try:
        yield
    finally:
        del model.__dict__["train"]


def missing_moments(optimizer: Any) -> int:
    """Bytes of the moments that an Adam optimizer will have from its first step on; 0 when it has them."""
    optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's wrapper
    if not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW) or optimizer.state:
        return 0
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return 2 * sum(each.numel() * each.element_size() for each in parameters if each.requires_grad)
