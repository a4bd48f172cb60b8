"""Divide the examples of each optimizer step among several processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import Dataset

if TYPE_CHECKING:
    from rdrop_cli.core.trainer.sampler import LengthGroupedSampler

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
