"""The order of training examples: batches of similar length, the same again for the same seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

_POOL = 50
"""Batches that are sorted by length together: more wastes less padding, fewer mixes better."""


class LengthGroupedSampler(Sampler[int]):
    """Yields example indices so that consecutive `batch_size` of them have similar lengths.

    The order is a pure function of seed, epoch and `batch_size`, so that a run resumed in the middle of an epoch
    sees exactly the batches it would have seen, however a batch is divided over micro-batches.

    Args:
        lengths: Tokens of each example.
        batch_size: Examples per optimizer step, over all micro-batches and processes.
        seed: Of the shuffling.
        group: False shuffles without regard to length.
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
        """Choose the epoch, counted from 0, that the next iteration yields."""
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
        # Within a pool longest first; the stable sort keeps ties in their shuffled order.
        grouped = np.concatenate([part[np.argsort(-self.lengths[part], kind="stable")] for part in pools] or [order])
        full = len(grouped) // self.batch_size * self.batch_size
        batches = grouped[:full].reshape(-1, self.batch_size)
        batches = batches[rng.permutation(len(batches))]
        if len(batches):
            # The longest batch comes first: what does not fit in memory fails at the first step.
            longest = int(self.lengths[batches].max(axis=1).argmax())
            batches[[0, longest]] = batches[[longest, 0]]
        # The incomplete batch stays last, or every batch behind it would be cut in the wrong place.
        return iter(np.concatenate([batches.ravel(), grouped[full:]]).tolist())
