"""A trainer for models whose logits change with padding: it evaluates batches of texts of equal length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader

from rdrop_cli.core.model.exact_length import batches_of
from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer, example_lengths


class _Batches:
    """A batch sampler that yields examples in their order."""

    # Accelerate assumes that all batches but the last have this size, and would cut off part of the last one.
    batch_size = 1
    drop_last = False

    def __init__(self, lengths: Sequence[int], size: int) -> None:
        self._spans = list(batches_of(lengths, size, exact=True))

    def __len__(self) -> int:
        return len(self._spans)

    def __iter__(self) -> Iterator[list[int]]:
        return iter([list(range(span.start, span.stop)) for span in self._spans])


class ExactLengthTrainer(RDropTrainer):
    """An `RDropTrainer` that evaluates without padding; with several processes, each evaluates one text at a time."""

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Like the base class, but all texts of a batch have the same length."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        lengths = example_lengths(dataset)
        size = self.args.per_device_eval_batch_size if self.args.world_size == 1 else 1
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=_Batches(lengths if lengths is not None else [], size),
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared
