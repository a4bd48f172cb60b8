"""Attention for CPUs, with dropout or in bfloat16.

PyTorch's scaled dot-product attention has no fused CPU kernel with dropout: it computes in float32, a whole
(batch, heads, length, length) array at a time, and draws a random number for each element. Its fused kernel without
dropout is slow for the short inputs and narrow heads of text classifiers. Here the heads go through in chunks that stay
in the cache, matrix products stay in the dtype they came in, and masks come from `dropout`.
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
"""What `set_attn_implementation` takes, after `register_attention`."""

_CHUNK = 2**20
"""Scores computed at once: 2 MB in bfloat16."""

_HARMLESS = frozenset(
    {"is_causal", "position_ids", "use_cache", "cache_position", "sliding_window", "deterministic"}
    | {"output_attentions", "output_hidden_states", "return_dict"}
)
"""Keyword arguments of models that change nothing here: the mask carries what they say, or it is asked for below."""


def _attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float, p: float, kept: list[Tensor | None] | None = None
) -> Tensor:
    """softmax(scale * q k^T + bias), dropped out, times v; over (heads of the batch, length, width of a head).

    Args:
        bias: (heads of the batch, 1 or queries, keys).
        p: Of the dropout; 0 draws nothing.
        kept: Takes each chunk's weights and mask.
    """
    out = torch.empty_like(q)
    chunk = _chunk(q, k)
    for start in range(0, len(q), chunk):
        part = slice(start, start + chunk)
        scores = torch.baddbmm(bias[part], q[part], k[part].transpose(1, 2), alpha=scale)
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        mask = keep_mask(weights.shape, p, q.dtype) if p else None
        torch.bmm(weights if mask is None else weights * mask, v[part], out=out[part])
        if kept is not None:
            kept += [weights, mask]
    return out.mul_(keep_scale(p))


def _chunk(q: Tensor, k: Tensor) -> int:
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
    """What transformers calls for attention: PyTorch's own, but where that is slow on a CPU.

    Args:
        query: (batch, heads, queries, width), as key and value; their width and number of heads may differ.
        attention_mask: (batch, 1, queries, keys): bool, True where a key counts, or added to the scores.
        dropout: Probability of dropping an attention weight.
        scaling: Of the scores; None: 1 / sqrt(width).
        kwargs: What a model adds. One that is not known here, such as a soft cap, goes to PyTorch's attention, which
            takes or refuses it.

    Returns:
        (batch, queries, heads, width), and no weights.
    """
    batch, heads, queries, width = query.shape
    if attention_mask is not None and attention_mask.ndim == 4 and attention_mask.stride(2) == 0:
        # All queries share one row, that is, it is padding alone: CUDA's kernels would write out the whole square.
        attention_mask = attention_mask[:, :, :1]
    is_plain = (
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
    with torch.autocast("cpu", enabled=False):
        q, k, v = (part.reshape(batch * heads, -1, width) for part in (query, key, value))
        bias = _bias(attention_mask, batch, heads, key.shape[2], query.dtype)
        scale = scaling if scaling is not None else width**-0.5
        needs_grad = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
        out: Tensor = (_Attention.apply if needs_grad else _attend)(q, k, v, bias, scale, dropout)
    return out.view(batch, heads, queries, width).transpose(1, 2).contiguous(), None


_switch_lock = threading.Lock()
_before: list[bool] = []
"""How PyTorch's switch, one for all threads, stood when each of those began that have it off: all but the first off."""


@contextlib.contextmanager
def _without_cudnn() -> Iterator[None]:
    """Leave attention to PyTorch's other kernels, for as long as the block runs.

    Where PyTorch prefers cuDNN's (NVIDIA's GPUs from Hopper on), it plans anew for every shape of a batch, 4 ms for
    each pass of each layer. With texts of many lengths an epoch is over before all plans are made: on an H200 the first
    steps of R-Drop at IMDb's lengths took 181 ms while profiled, and 81 without it.
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
    """What is added to the scores, (batch * heads, 1 or queries, keys); one row where all queries share it."""
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
    """What transformers calls to make the mask of a forward pass: its own for PyTorch's attention, without looking.

    That one asks whether the batch holds any padding at all, and waits for the device to answer in every forward pass.
    The collator knows it beforehand and gives no mask then. With one, the mask of an encoder is a row for all queries
    (its stride over them is 0), and a causal one is written out; only on a CPU, where looking costs nothing, a causal
    mask is still left to the kernel where nothing is padded.

    Args:
        mask_function: Which keys a query may see, as transformers' functions of four indices say it.
        attention_mask: (batch, keys) bool, True for what is no padding; None: nothing is padded.
        device: Of the mask.
        kwargs: As `transformers.masking_utils.sdpa_mask` takes them.

    Returns:
        (batch, 1, queries, keys) bool, True where a key counts; None where nothing is masked or the kernel does it.
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
    """Make `NAME` known to transformers; a second time nothing happens."""
    AttentionInterface.register(NAME, attention_forward)
    AttentionMaskInterface.register(NAME, attention_mask)
