"""Compute the last layer of the classification head in float32, whatever the precision of the rest.

A bfloat16 number has eight bits of precision, so that different texts, or the two classes of one text, often get equal
scores. The layer takes almost no time, and its weights are float32 anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rdrop_cli.core.model.mode import in_mode


def keep_head_in_float32(model: Any, batch: Mapping[str, Tensor]) -> bool:
    """Find the layer whose outputs are the logits, with a pass over some input, and disable autocast for it.

    Args:
        model: A sequence classifier in float32.
        batch: A few rows of any length, on the model's device.

    Returns:
        Whether there is such a layer.
    """
    with torch.no_grad(), in_mode(model, training=False):
        last = _last_run(model, batch)
        is_head = last is not None and _makes_the_logits(last, model, batch)
    if last is not None and is_head:
        last.forward = _InFloat32(last)  # type: ignore[method-assign, assignment]
    return is_head


def _last_run(model: Any, batch: Mapping[str, Tensor]) -> nn.Linear | None:
    """The linear layer that runs last among those with one output for each class."""
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
    """Whether adding 1 to the layer's outputs adds 1 to the logits, so that they are its outputs or a mean of them."""
    logits = model(**batch).logits
    hook = linear.register_forward_hook(lambda linear, inputs, out: out + 1)
    try:
        shifted = model(**batch).logits
    finally:
        hook.remove()
    return bool(torch.allclose(shifted, logits + 1, atol=1e-4))


class _InFloat32:
    """Replaces a linear layer's forward: (..., width) of any dtype to (..., classes) in float32."""

    def __init__(self, linear: nn.Linear) -> None:
        self.linear = linear

    def __call__(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return functional.linear(hidden.float(), self.linear.weight, self.linear.bias)
