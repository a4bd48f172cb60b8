"""What makes a model cheaper to train and to run without changing what it computes."""

from __future__ import annotations

import contextlib
import ctypes
import platform
from collections.abc import Iterator
from typing import Any

from rdrop_cli.core.model.attention import NAME, register_attention
from rdrop_cli.core.model.dropout import use_fast_dropout
from rdrop_cli.core.model.first_token import cut_layers, use_first_token_only

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of glibc's mallopt."""


def accelerate_training(model: Any) -> None:
    """Prepare a classifier in float32 for training: as for inference, and with cheap dropout."""
    use_fast_dropout(model)
    accelerate_inference(model)


def accelerate_inference(model: Any) -> None:
    """Prepare a classifier in float32 for deterministic passes.

    Models that bring an attention of their own keep it.
    """
    keep_freed_memory()
    if model.config._attn_implementation == "sdpa" and model._can_set_attn_implementation():
        register_attention()
        model.set_attn_implementation(NAME)
    use_first_token_only(model)


def is_accelerated(model: Any) -> bool:
    """True where a classifier computes its passes with anything of ours."""
    return model.config._attn_implementation == NAME or bool(cut_layers(model))


def use_stock_kernels(model: Any) -> None:
    """Undo `accelerate_inference`."""
    if model.config._attn_implementation == NAME:
        model.set_attn_implementation("sdpa")
    for layer in cut_layers(model):
        del layer.forward


@contextlib.contextmanager
def stock_kernels(model: Any) -> Iterator[None]:
    """As `use_stock_kernels`, while the block runs."""
    was_fast = model.config._attn_implementation == NAME
    cut = {layer: layer.forward for layer in cut_layers(model)}
    use_stock_kernels(model)
    try:
        yield
    finally:
        if was_fast:
            model.set_attn_implementation(NAME)
        for layer, forward in cut.items():
            layer.forward = forward


def keep_freed_memory() -> None:
    """Have the C library keep large freed blocks instead of giving them back to the kernel at once.

    Every step allocates the same hundreds of megabytes again; with glibc's defaults each of their pages is mapped
    and zeroed anew, which takes a tenth of a training step. Nothing happens where the C library is not glibc.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
