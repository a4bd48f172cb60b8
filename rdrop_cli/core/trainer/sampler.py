"""The order of training examples: batches of similar length, reproducible by seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset, Sampler

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


NO_EXAMPLE = -100
"""The label of an example that only fills a process's share; torch's cross-entropy ignores this number."""


class ShareOfBatches:
    """One process's micro-batches: every `count`-th example of each optimizer step, starting at its rank.

    Together the processes see the same examples in the same steps as a single process would. If a step's examples do
    not divide evenly, a process that is one short repeats an example as ~index, which `Fillable` gives the label
    `NO_EXAMPLE`: all processes must run the same number of passes, because they wait for each other in each.

    Args:
        sampler: The order of examples for all processes; its `batch_size` is that of an optimizer step.
        micro_batch_size: Most examples in one forward pass of one process.
        rank: Which process this is, from 0.
        count: The number of processes.
    """

    def __init__(self, sampler: LengthGroupedSampler, micro_batch_size: int, rank: int, count: int) -> None:
        self.sampler = sampler
        self.batch_size = micro_batch_size
        self.rank = rank
        self.count = count

    def sizes(self) -> list[int]:
        """The number of examples in each optimizer step of an epoch, over all processes."""
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
            # A batch grouped by length is sorted: with every `count`-th example, all processes get texts of similar
            # length, so that none waits long for another.
            share = step[self.rank :: self.count]
            if len(share) < self._share(size):
                share.append(~step[-1])
            for first in range(0, len(share), self.batch_size):
                yield share[first : first + self.batch_size]


class Fillable(Dataset[dict[str, Any]]):
    """A data set in which ~index stands for example `index` with the label `NO_EXAMPLE`."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index >= 0:
            example: dict[str, Any] = self.dataset[index]
            return example
        return {**self.dataset[~index], "labels": NO_EXAMPLE}
