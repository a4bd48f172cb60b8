"""The order of training examples: batches of similar length, the same again for the same seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset, Sampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


NO_EXAMPLE = -100
"""The label of an example that only fills a process's share; the same number torch's cross-entropy ignores."""


class ShareOfBatches:
    """One process's micro-batches: of each optimizer step's examples every `count`-th, from its rank on.

    All processes together see what one process would, in the same steps. Where a step's examples do not divide evenly,
    a process that is one short repeats an example, as ~index: `Fillable` gives it the label `NO_EXAMPLE`.

    Args:
        sampler: The order of examples for all processes; its batch is an optimizer step's.
        micro_batch_size: Most examples in one forward pass of one process.
    """

    def __init__(self, sampler: LengthGroupedSampler, micro_batch_size: int, rank: int, count: int) -> None:
        self.sampler = sampler
        self.batch_size = micro_batch_size
        self.rank = rank
        self.count = count

    def sizes(self) -> list[int]:
        """Examples of each of an epoch's optimizer steps, over all processes."""
        full, rest = divmod(len(self.sampler), self.sampler.batch_size)
        return [self.sampler.batch_size] * full + ([rest] if rest else [])

    def __len__(self) -> int:
        return sum(-(-self._share(size) // self.batch_size) for size in self.sizes())

    def _share(self, size: int) -> int:
        return -(-size // self.count)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.sampler)
        start = 0
        for size in self.sizes():
            step = order[start : start + size]
            start += size
            share = step[self.rank :: self.count]
            if len(share) < self._share(size):
                share.append(~step[-1])
            for first in range(0, len(share), self.batch_size):
                yield share[first : first + self.batch_size]


class Fillable(Dataset[dict[str, Any]]):
    """A data set in which ~index is example `index` with the label `NO_EXAMPLE`."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index >= 0:
            example: dict[str, Any] = self.dataset[index]
            return example
        return {**self.dataset[~index], "labels": NO_EXAMPLE}
