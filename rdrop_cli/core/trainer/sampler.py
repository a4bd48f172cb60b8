"""The order of training examples: batches of similar length, reproducible by seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POOL = 50
"""How many batches are sorted by length together: more need less padding, fewer mix the examples better."""


class LengthGroupedSampler(Sampler[int]):
    """Yields example indices so that every `batch_size` consecutive ones have similar lengths.

    The order depends on lengths, seed, epoch and `batch_size` alone. A run that resumes in the middle of an epoch
    therefore sees the batches that it would have seen, even if a batch is divided into other micro-batches.

    Args:
        lengths: Tokens of each example.
        batch_size: Examples per optimizer step, over all micro-batches and processes.
        seed: For the shuffling.
        group: False: shuffle without regard to length.
    """

    def __init__(
        self, lengths: Sequence[int] | NDArray[np.int64], batch_size: int, seed: int, *, group: bool = True
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.group = group
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0, of the next iteration. The Trainer calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths))
        if not self.group:
            return iter(order.tolist())
        pool = _POOL * self.batch_size
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        # Each pool is sorted longest first; the stable sort keeps examples of equal length in shuffled order.
        grouped = np.concatenate([part[np.argsort(-self.lengths[part], kind="stable")] for part in pools] or [order])
        full = len(grouped) // self.batch_size * self.batch_size
        batches = grouped[:full].reshape(-1, self.batch_size)
        batches = batches[rng.permutation(len(batches))]
        if len(batches):
            # The longest batch comes first, so that a run that needs too much memory fails in its first step.
            longest = int(self.lengths[batches].max(axis=1).argmax())
            batches[[0, longest]] = batches[[longest, 0]]
        # The incomplete batch must be last: the loader cuts every `batch_size` indices, so that anywhere else it would
        # shift all batches after it.
        return iter(np.concatenate([batches.ravel(), grouped[full:]]).tolist())
