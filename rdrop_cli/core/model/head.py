"""The last layer of the classification head in float32, whatever precision the rest is computed in.

A bfloat16 number has eight bits of precision: scores of different texts become equal, and so do those of two classes.
The layer is next to nothing of the work, and its weights are float32 anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def keep_head_in_float32(model: Any, batch: Mapping[str, Tensor]) -> bool:
    """Find the layer whose outputs are the logits, by a pass over some input, and keep autocast away from it.

    Args:
        model: A sequence classifier in float32.
        batch: A few rows of any length, on the model's device.

    Returns:
        Whether there is such a layer.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            last = _last_run(model, batch)
            is_head = last is not None and _makes_the_logits(last, model, batch)
    finally:
        model.train(was_training)
    if last is not None and is_head:
        last.forward = _InFloat32(last)  # type: ignore[method-assign, assignment]
    return is_head


def _last_run(model: Any, batch: Mapping[str, Tensor]) -> nn.Linear | None:
    """The linear layer that ran last of those with an output for each class."""
    seen: list[nn.Linear] = []
    hooks = [
        module.register_forward_hook(lambda linear, inputs, out: seen.append(linear))
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.out_features == model.config.num_labels
    ]
    try:
        model(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[-1] if seen else None


def _makes_the_logits(linear: nn.Linear, model: Any, batch: Mapping[str, Tensor]) -> bool:
    """Whether the logits are the layer's outputs, or those of one token, or their mean: 1 more here is 1 more there."""
    logits = model(**batch).logits
    hook = linear.register_forward_hook(lambda linear, inputs, out: out + 1)
    try:
        shifted = model(**batch).logits
    finally:
        hook.remove()
    return bool(torch.allclose(shifted, logits + 1, atol=1e-4))


class _InFloat32:
    """Stands in for a linear layer's forward: (..., width) of any dtype to (..., classes) float32."""

    def __init__(self, linear: nn.Linear) -> None:
        self.linear = linear

    def __call__(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return functional.linear(hidden.float(), self.linear.weight, self.linear.bias)
