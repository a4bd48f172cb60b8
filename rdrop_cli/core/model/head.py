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
    outputs: list[tuple[nn.Linear, Tensor]] = []
    classes = model.config.num_labels
    hooks = [
        module.register_forward_hook(lambda linear, inputs, out: outputs.append((linear, out)))
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.out_features == classes
    ]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(**batch).logits
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    for linear, out in reversed(outputs):
        rows = out.reshape(1, -1, classes)  # decoders compute every token's, and then choose one
        if bool((rows == logits[:, None]).all(-1).any(-1).all()):
            linear.forward = _InFloat32(linear)  # type: ignore[method-assign, assignment]
            return True
    return False


class _InFloat32:
    """Stands in for a linear layer's forward: (..., width) of any dtype to (..., classes) float32."""

    def __init__(self, linear: nn.Linear) -> None:
        self.linear = linear

    def __call__(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return functional.linear(hidden.float(), self.linear.weight, self.linear.bias)
