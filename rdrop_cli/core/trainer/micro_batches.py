"""Divide optimizer steps into smaller forward passes when memory runs out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn

from rdrop_cli.core.model.device import is_out_of_memory
from rdrop_cli.core.trainer.loss_meter import LossMeter
from rdrop_cli.core.trainer.weight_average import AveragedWeights


class MicroBatches(AveragedWeights):
    """A Trainer that repeats a step with half the forward-pass size when memory runs out, and keeps that size.

    `compute_loss` must divide by the number of examples of the whole step. Then the gradients of the pieces add up to
    that of the step, whatever their sizes.

    Args:
        auto_micro_batch: Divide steps. This requires one process and `gradient_accumulation_steps` of 1.
        on_micro_batch: Called with the new number of examples per forward pass.

    Attributes:
        micro_batch: Most examples in a forward pass; None: steps are never divided.
        meter: Sums of the losses; a repeated step counts once.
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
        """Forward and backward over a batch; with `auto_micro_batch` in as many pieces as memory requires.

        On a GPU the first step reserves the memory that the optimizer's moments will take after it. Since the longest
        batch comes first, a run that would run out of memory later does so in its first step.
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
            # After the except block: within it, the traceback keeps the tensors of the failed pass alive.
            self.meter = before
            # Pieces before the failed one have left gradients. Those of earlier micro-batches cannot be lost, because
            # there is no gradient accumulation here. The repeated passes draw new dropout masks.
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
            # A sum, not a mean: each piece's loss is already divided by the examples of the whole step.
            total = total + super().training_step(model, piece, num_items_in_batch)
        return total


@contextlib.contextmanager
def _staying_in_training(model: nn.Module) -> Iterator[None]:
    """Skip `model.train()` while the block runs: the base class calls it in every step, and it visits every module."""
    if not model.training:
        yield
        return
    model.__dict__["train"] = lambda mode=True: model
    try:
        yield
    finally:
        del model.__dict__["train"]


def missing_moments(optimizer: Any) -> int:
    """Bytes that an Adam optimizer will allocate for its moments in its first step; 0 if it already has."""
    optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's wrapper
    if not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW) or optimizer.state:
        return 0
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return 2 * sum(each.numel() * each.element_size() for each in parameters if each.requires_grad)
