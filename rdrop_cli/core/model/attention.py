"""Attention for CPUs, with dropout or in bfloat16.

PyTorch's scaled dot-product attention (SDPA) has no fused CPU kernel with dropout: it computes in float32, a whole
(batch, heads, length, length) array at a time, and draws a random number for each element. Its fused kernel without
dropout is slow in bfloat16 for the short inputs and narrow heads of text classifiers. This module computes a chunk of
heads at a time, so that the scores stay in the cache, keeps matrix products in the dtype of the inputs, and takes masks
from `dropout`.

Which of the two computes an input:

=========================================  ======  ==============================================================
input                                      kernel  reason
=========================================  ======  ==============================================================
on a GPU                                   SDPA    it is fused there, with dropout too
CPU, no dropout, float32                   SDPA    its fused kernel is about as fast, or faster
CPU, no dropout, bfloat16                  ours    faster at the lengths of text classifiers
CPU, dropout, any dtype                    ours    several times as fast
CPU, dropout of 1                          SDPA    `keep_scale` would divide by zero
key heads or value width unlike the query  SDPA    the chunks assume equal shapes
a mask that requires a gradient            SDPA    `_Attention` gives no gradient for the mask
causal without a mask                      SDPA    it applies the causal mask itself
an argument unknown here                   SDPA    it implements or refuses it
=========================================  ======  ==============================================================
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, bidirectional_mask_function, sdpa_mask

from rdrop_cli.core.model.dropout import drop_level, keep_mask, keep_scale

NAME = "rdrop"
"""The name for `set_attn_implementation`, after `register_attention`."""

_CHUNK = 2**20
"""Scores computed at once: 2 MB in bfloat16."""

_HARMLESS = frozenset(
    {"is_causal", "position_ids", "use_cache", "cache_position", "sliding_window", "deterministic"}
    | {"output_attentions", "output_hidden_states", "return_dict"}
)
"""Keyword arguments that need no handling here: the mask already reflects them, or they are checked below."""


def _attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float, p: float, kept: list[Tensor | None] | None = None
) -> Tensor:
    """dropout(softmax(scale * q k^T + bias)) v, all of shape (batch * heads, length, width of a head).

    Args:
        bias: (batch * heads, 1 or queries, keys).
        p: Dropout probability; for 0 no random number is drawn.
        kept: A list that receives each chunk's weights and mask, for the backward pass.
    """
    out = torch.empty_like(q)
    chunk = _chunk(q, k)
    for start in range(0, len(q), chunk):
        part = slice(start, start + chunk)
        scores = torch.baddbmm(bias[part], q[part], k[part].transpose(1, 2), alpha=scale)
        # In float32: a sum of bfloat16 exponentials would lose most of its few digits.
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        mask = keep_mask(weights.shape, p, q.dtype) if p else None
        torch.bmm(weights if mask is None else weights * mask, v[part], out=out[part])
        if kept is not None:
            kept += [weights, mask]
    # Scaling the result instead of the weights touches `width` numbers a row instead of `keys`.
    return out.mul_(keep_scale(p))


def _chunk(q: Tensor, k: Tensor) -> int:
    """Heads of the batch per chunk. It depends on the shapes alone, so that the backward pass finds the same chunks."""
    return max(1, _CHUNK // (q.shape[1] * k.shape[1]))


class _Attention(torch.autograd.Function):
    """`_attend` with its gradient."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float, p: float) -> Tensor:
        kept: list[Tensor | None] = []
        out = _attend(q, k, v, bias, scale, p, kept)
        ctx.save_for_backward(q, k, v, *kept)
        ctx.scale, ctx.keep_scale = scale, keep_scale(p)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *kept = ctx.saved_tensors
        grad_out = grads[0] * ctx.keep_scale
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        chunk = _chunk(q, k)
        for index, start in enumerate(range(0, len(q), chunk)):
            part = slice(start, start + chunk)
            weights, mask = kept[2 * index : 2 * index + 2]
            dropped = weights if mask is None else weights * mask
            torch.bmm(dropped.transpose(1, 2), grad_out[part], out=grad_v[part])
            grad_weights = torch.bmm(grad_out[part], v[part].transpose(1, 2))
            if mask is not None:
                grad_weights.mul_(mask)
            # The softmax's gradient needs the weights before dropout.
            grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
            torch.bmm(grad_scores, k[part], out=grad_q[part])
            torch.bmm(grad_scores.transpose(1, 2), q[part], out=grad_k[part])
        return grad_q.mul_(ctx.scale), grad_k.mul_(ctx.scale), grad_v, None, None, None


def attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function for transformers: PyTorch's, except in the cases where this module's is faster.

    Args:
        query: (batch, heads, queries, width); key and value likewise, but their width and number of heads may differ.
        attention_mask: (batch, 1, queries, keys): bool, True for keys to attend to; or float, added to the scores.
        dropout: Probability of dropping an attention weight.
        scaling: Factor for the scores; None: 1 / sqrt(width).
        kwargs: Further arguments of the model. With one that is unknown here, such as a soft cap, PyTorch's attention
            is called, which implements or refuses it.

    Returns:
        (batch, queries, heads, width), and no weights.
    """
    batch, heads, queries, width = query.shape
    if attention_mask is not None and attention_mask.ndim == 4 and attention_mask.stride(2) == 0:
        # A stride of 0 means that all queries share one row, so the mask is for padding only. Without the cut, CUDA's
        # kernels would materialise the whole (queries, keys) square.
        attention_mask = attention_mask[:, :, :1]
    is_plain = (  # the cases of the table at the top of this file, in its order
        query.device.type == "cpu"
        and (query.dtype == torch.bfloat16 if not drop_level(dropout) else drop_level(dropout) < drop_level(1))
        and key.shape == value.shape
        and key.shape[1] == heads
        and all(value is None for name, value in kwargs.items() if name not in _HARMLESS)
        and (attention_mask is None or not attention_mask.requires_grad)
        and (attention_mask is not None or not (kwargs.get("is_causal") or getattr(module, "is_causal", False)))
    )
    if not is_plain:
        with _without_cudnn():
            return sdpa_attention_forward(
                module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
            )
    with torch.autocast("cpu", enabled=False):  # it would cast each chunk; the inputs already have their dtype
        q, k, v = (part.reshape(batch * heads, -1, width) for part in (query, key, value))
        bias = _bias(attention_mask, batch, heads, key.shape[2], query.dtype)
        scale = scaling if scaling is not None else width**-0.5
        needs_grad = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
        out: Tensor = (_Attention.apply if needs_grad else _attend)(q, k, v, bias, scale, dropout)
    return out.view(batch, heads, queries, width).transpose(1, 2).contiguous(), None


_switch_lock = threading.Lock()
_before: list[bool] = []
"""The state of PyTorch's switch, which all threads share, before each block that now has it off: a stack."""


@contextlib.contextmanager
def _without_cudnn() -> Iterator[None]:
    """Turn off cuDNN's attention while the block runs, so that PyTorch uses its other kernels.

    Where PyTorch prefers cuDNN's kernel (NVIDIA's GPUs from Hopper on), cuDNN makes a new plan for every batch shape,
    which takes 4 ms for each pass of each layer. With texts of many lengths, most of an epoch's shapes are new: on an
    H200 the first steps of R-Drop at IMDb's lengths took 181 ms with it (while profiled) and 81 ms without.
    """
    with _switch_lock:
        _before.append(torch.backends.cuda.cudnn_sdp_enabled())
        torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        with _switch_lock:
            torch.backends.cuda.enable_cudnn_sdp(_before.pop())


def _bias(mask: Tensor | None, batch: int, heads: int, keys: int, dtype: torch.dtype) -> Tensor:
    """The mask as a tensor to add to the scores, (batch * heads, 1 or queries, keys); one row if all queries share it.

    Masked scores get the lowest finite number: with -inf, the softmax of a row without any key would be NaN. Clamping
    comes before the cast because the lowest float32 number becomes -inf in bfloat16.
    """
    if mask is None:
        return torch.zeros(1, dtype=dtype).expand(batch * heads, 1, keys)
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
    return (
        mask.clamp(min=torch.finfo(dtype).min).to(dtype).expand(batch, heads, -1, -1).reshape(batch * heads, -1, keys)
    )


def attention_mask(
    *,
    batch_size: int,
    q_length: int,
    kv_length: int,
    kv_offset: int = 0,
    mask_function: Any,
    attention_mask: Tensor | None = None,
    device: torch.device | str = "cpu",
    **kwargs: Any,
) -> Tensor | None:
    """The mask function for transformers: like its own for SDPA, but without reading the mask's values.

    Transformers' function checks whether the batch contains any padding, which makes every forward pass wait for the
    device. The collator knows this in advance and omits the mask if nothing is padded. If there is a mask, an encoder's
    is one row expanded over all queries (with stride 0), and a causal one is written out in full. Only on a CPU, where
    reading values is cheap, a causal mask without padding is still left to the kernel.

    Args:
        mask_function: Which keys a query may attend to, as a function of four indices (see transformers).
        attention_mask: (batch, keys) bool, False for padding; None: nothing is padded.
        device: Where to create the mask.
        kwargs: Further arguments of `transformers.masking_utils.sdpa_mask`.

    Returns:
        (batch, 1, queries, keys) bool, True for keys to attend to; None if nothing is masked or the kernel does it.
    """
    if attention_mask is not None:
        if mask_function is bidirectional_mask_function and attention_mask.shape[-1] == kv_offset + kv_length:
            row = attention_mask[:, None, None, kv_offset:]
            return row.expand(batch_size, 1, q_length, kv_length)
        kwargs["allow_is_bidirectional_skip"] = False
        if torch.device(device).type != "cpu":
            kwargs["allow_is_causal_skip"] = False
    mask: Tensor | None = sdpa_mask(
        batch_size=batch_size, q_length=q_length, kv_length=kv_length, kv_offset=kv_offset,
        mask_function=mask_function, attention_mask=attention_mask, device=device, **kwargs,
    )  # fmt: skip
    return mask


@functools.cache
def register_attention() -> None:
    """Register `NAME` with transformers; further calls do nothing."""
    AttentionInterface.register(NAME, attention_forward)
    AttentionMaskInterface.register(NAME, attention_mask)
