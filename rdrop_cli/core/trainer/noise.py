"""The pair of passes of R3F (Aghajanyan et al. 2020, arXiv:2008.03156): no dropout, and noise on the embeddings of one.

The paper's divergence is between f(x) and f(x + z). The authors' code in fairseq leaves dropout on in both passes,
which makes it R-Drop with one cross-entropy; here it is off, as in the paper.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Let a model in training compute as in evaluation while the block runs, gradients included."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def noisy_embeddings(model: Any, size: float, rows: int) -> Iterator[None]:
    """Add noise, uniform from -size to size, to the token embeddings of the rows from `rows` on in the block."""

    was_called = False

    def add(module: nn.Module, inputs: Any, embedded: Tensor) -> Tensor:
        nonlocal was_called
        was_called = True
        noise = torch.empty_like(embedded).uniform_(-size, size)
        noise[:rows] = 0.0
        return embedded + noise

    # Encoder and decoder may have a module each for the same weights.
    weight = model.get_input_embeddings().weight
    shared = [module for module in model.modules() if isinstance(module, nn.Embedding) and module.weight is weight]
    handles = [module.register_forward_hook(add) for module in shared]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if not was_called:
        raise ValueError("this model does not call its token embeddings, so there is nothing to add noise to")
