"""Count the operations that make Python wait for the device."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_READS = frozenset(
    {
        "aten._local_scalar_dense",  # item(), bool(), float(), `in`
        "aten.equal",
        "aten.is_nonzero",
        "aten.item",
        "aten.masked_select",
        "aten.nonzero",
        "aten.repeat_interleave",
        "aten._unique2",
        "aten.unique_consecutive",
        "aten.unique_dim",
    }
)
"""Operations whose result, or its shape, Python must know: a GPU must first finish all queued work."""

_INDEXING = frozenset({"aten.index", "aten.index_put", "aten.index_put_"})
"""Operations that take a list with an index, or None, for each dimension."""


class ValueReads(TorchDispatchMode):
    """Counts the operations that are dispatched while the block runs, and those that read a tensor's values.

    Attributes:
        operations: How often each operation was dispatched, by name, such as `aten.mm`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket)
        if name in _INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1]):
            name = "aten.nonzero"  # indexing with booleans calls it internally
        self.operations[name] += 1
        return func(*args, **(kwargs or {}))

    @property
    def reads(self) -> dict[str, int]:
        """The operations that read values, and how often."""
        return {name: count for name, count in self.operations.items() if name in _READS}
