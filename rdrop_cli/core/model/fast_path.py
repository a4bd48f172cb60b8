"""Make a model faster to train and to run without changing what it computes.

There are four changes, and each applies only where it is known to be correct:

* `FastDropout` replaces `nn.Dropout`, in training only. It is never undone: its masks have the same distribution, and
  it calls `nn.Dropout` on other devices than CPUs.
* rdrop's attention replaces PyTorch's in models that use transformers' attention interface. `core.model.attention`
  lists the inputs that it computes itself; the rest it passes on to PyTorch.
* The last layer computes the first token only, if `core.model.first_token` finds that nothing else is read.
* The C library keeps freed memory, on Linux with glibc, for the whole process.

`core.model.trial` compares the second and third with the stock kernels on the device in use, and undoes them if the
results differ or a pass fails.
"""

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
"""Parameters of glibc's mallopt."""


def accelerate_training(model: Any) -> None:
    """Prepare a classifier in float32 for training: as for inference, and with faster dropout."""
    use_fast_dropout(model)
    accelerate_inference(model)


def accelerate_inference(model: Any) -> None:
    """Prepare a classifier in float32 for passes without dropout.

    Models with their own attention, and models set to another one than SDPA, keep it.
    """
    keep_freed_memory()
    if model.config._attn_implementation == "sdpa" and model._can_set_attn_implementation():
        register_attention()
        model.set_attn_implementation(NAME)
    use_first_token_only(model)


def is_accelerated(model: Any) -> bool:
    """True if a classifier uses rdrop's attention or a cut last layer."""
    return model.config._attn_implementation == NAME or bool(cut_layers(model))


def use_stock_kernels(model: Any) -> None:
    """Undo `accelerate_inference`, except that the C library still keeps freed memory."""
    if model.config._attn_implementation == NAME:
        model.set_attn_implementation("sdpa")
    for layer in cut_layers(model):
        del layer.forward  # the instance's attribute, which hides the method of its class


@contextlib.contextmanager
def stock_kernels(model: Any) -> Iterator[None]:
    """Use the stock kernels while the block runs."""
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
    """Make the C library keep large freed blocks instead of returning them to the kernel at once.

    Every step allocates the same hundreds of megabytes again. With glibc's defaults the kernel maps and zeroes their
    pages each time, which takes a tenth of a training step. Does nothing with another C library than glibc.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
