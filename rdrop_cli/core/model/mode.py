"""Training or evaluation mode while a block runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def in_mode(model: Any, *, training: bool) -> Iterator[None]:
    """Put a model into training mode (with dropout) or evaluation mode, and back into its mode at the end.

    Args:
        model: A `torch.nn.Module`.
    """
    before = model.training
    model.train(training)
    try:
        yield
    finally:
        model.train(before)
