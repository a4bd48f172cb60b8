"""Hugging Face's Trainer with the R-Drop loss, right under accumulation, ragged steps and data parallelism."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from rdrop_cli import processes
from rdrop_cli.core.device import is_out_of_memory
from rdrop_cli.core.loss import CEReduction, check_parameters, cross_entropy, log_probabilities, rdrop_loss
from rdrop_cli.core.meter import LossMeter
from rdrop_cli.core.sampler import NO_EXAMPLE, Fillable, LengthGroupedSampler, ShareOfBatches
from rdrop_cli.core.saving import WholeCheckpoints

METER_FILE = "loss_meter.json"
"""In a checkpoint: the running means of the log entry that was being collected, and the micro-batch found."""


class RDropTrainer(WholeCheckpoints):
    """A `transformers.Trainer` that trains with R-Drop; everything else is as in the base class.

    Every term of the loss is a mean over the examples of the optimizer step, so alpha means the same at any batch
    size, accumulation or number of devices. Evaluation is one deterministic pass with the plain, unsmoothed loss.

    Args:
        alpha: Weight of the symmetric KL divergence between the two passes; 0 makes one pass only.
        label_smoothing: Of the cross-entropy; None: `args.label_smoothing_factor`.
        ce_reduction: As in `rdrop_loss`; with alpha 0 the one cross-entropy is counted twice for `sum`.
        passes: `concat` runs one forward over [x; x], `sequential` two forwards over x.
        group_by_length: Whether batches hold examples of similar length.
        auto_micro_batch: When memory runs out, repeat the step in halves, and go on so. For one process, with
            `gradient_accumulation_steps` of 1.
        on_micro_batch: Is told the new number of examples in a forward pass.

    Raises:
        ValueError: a parameter out of range.
    """

    # compute_loss divides by the examples of the whole optimizer step itself.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *args: Any,
        alpha: float,
        label_smoothing: float | None = None,
        ce_reduction: CEReduction = "mean",
        passes: str = "concat",
        group_by_length: bool = True,
        auto_micro_batch: bool = False,
        on_micro_batch: Callable[[int], None] = lambda size: None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.alpha = alpha
        self.label_smoothing = self.args.label_smoothing_factor if label_smoothing is None else label_smoothing
        self.ce_reduction: CEReduction = ce_reduction
        check_parameters(alpha, self.label_smoothing, ce_reduction)
        if passes not in ("concat", "sequential"):
            raise ValueError(f"passes must be 'concat' or 'sequential', got {passes!r}")
        self.passes = passes
        self.group_by_length = group_by_length
        self.micro_batch = self.args.train_batch_size if auto_micro_batch else None
        self.on_micro_batch = on_micro_batch
        self.meter = LossMeter()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The R-Drop loss while training, the plain cross-entropy while evaluating.

        Args:
            inputs: The model's inputs with `labels`, (batch,) int64.
            num_items_in_batch: Examples of the whole optimizer step over all processes; None: of this batch.

        Returns:
            The loss, a scalar; with `return_outputs` the model's outputs too (of the first pass).
        """
        labels = inputs["labels"]
        features = {name: value for name, value in inputs.items() if name != "labels"}
        if not model.training:
            logits = _logits(model(**features))
            loss = cross_entropy(log_probabilities(logits), labels)
            # Only the logits: what else a model returns would be gathered as predictions.
            return (loss, {"logits": logits}) if return_outputs else loss

        rows = batch_rows = len(labels)
        counted: Any = slice(None)
        if self.args.world_size > 1:
            counted = labels != NO_EXAMPLE
            labels = labels[counted]
            rows = len(labels)
        mask = features.get("attention_mask")
        tokens = mask.sum() if mask is not None else features["input_ids"].numel()
        if self.alpha == 0:
            outputs = model(**features)
            if not rows:
                return _logits(outputs).sum() * 0
            ce = cross_entropy(log_probabilities(_logits(outputs)[counted]), labels, self.label_smoothing)
            total = ce * 2 if self.ce_reduction == "sum" else ce
            self.meter.add(rows, tokens, loss=total, ce=total)
        else:
            outputs, logits_a, logits_b = self._two_passes(model, features, batch_rows)
            if not rows:
                return (logits_a + logits_b).sum() * 0
            logits_a, logits_b = logits_a[counted], logits_b[counted]
            total, ce, kl = rdrop_loss(
                logits_a,
                logits_b,
                labels,
                alpha=self.alpha,
                label_smoothing=self.label_smoothing,
                ce_reduction=self.ce_reduction,
            )
            agree = (logits_a.argmax(-1) == logits_b.argmax(-1)).float().mean()
            self.meter.add(rows, tokens, loss=total, ce=ce, kl=kl, agree=agree)

        if num_items_in_batch is not None:
            # A sum over rows divided by all rows of the step. Data parallelism averages gradients over processes,
            # which the factor undoes.
            total = total * (rows * self.accelerator.num_processes / num_items_in_batch)
        return (total, outputs) if return_outputs else total

    def _two_passes(self, model: nn.Module, features: dict[str, Any], rows: int) -> tuple[Any, Tensor, Tensor]:
        """Outputs of the first pass, and both passes' logits, each (batch, classes)."""
        if self.passes == "sequential":
            outputs = model(**features)
            return outputs, _logits(outputs), _logits(model(**features))
        doubled = {
            name: torch.cat([value, value]) if isinstance(value, Tensor) and value.shape[:1] == (rows,) else value
            for name, value in features.items()
        }
        logits = _logits(model(**doubled))
        return {"logits": logits[:rows]}, logits[:rows], logits[rows:]

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward over a batch; with `auto_micro_batch` in as many pieces as the memory asks for."""
        while self.micro_batch is not None:
            before = self.meter.copy()
            try:
                return self._in_pieces(model, inputs, self.micro_batch, num_items_in_batch)
            except RuntimeError as error:
                if self.micro_batch == 1 or not is_out_of_memory(error):
                    raise
            # Out of the except block, so that what the failed forward pass holds is free by now.
            self.meter = before
            model.zero_grad()
            clear_device_cache(garbage_collection=True)
            self.micro_batch = -(-self.micro_batch // 2)
            self.on_micro_batch(self.micro_batch)
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        return loss

    def _in_pieces(
        self, model: nn.Module, inputs: dict[str, Any], size: int, num_items_in_batch: Tensor | int | None
    ) -> Tensor:
        rows = len(inputs["labels"])
        total = torch.zeros((), device=self.args.device)
        for start in range(0, rows, size):
            piece = {
                name: value[start : start + size] if isinstance(value, Tensor) and value.shape[:1] == (rows,) else value
                for name, value in inputs.items()
            }
            total = total + super().training_step(model, piece, num_items_in_batch)
        return total

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        """The micro-batches of one optimizer step and their number of examples over all processes.

        The base class counts only for models that take **kwargs; the loss needs the count for every model.
        """
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.args.world_size == 1:
            return batches, sum(len(batch["labels"]) for batch in batches)
        counted = [(batch["labels"] != NO_EXAMPLE).sum() for batch in batches]
        return batches, self.accelerator.gather(torch.stack(counted).sum().to(device)[None]).sum()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Replace the base class's loss, a mean of step means, by means over examples, and add the parts."""
        if "loss" in logs:
            self.meter.gather()
            logs |= self.meter.means(self.alpha)
            self.meter.reset()
            if not math.isfinite(logs["loss"]):
                raise FloatingPointError(f"the loss became {logs['loss']} by step {self.state.global_step}")
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """As the base class; the time it takes, as that of saving, does not count in the training rates."""
        metrics: dict[str, float] = super().evaluate(*args, **kwargs)
        self.meter.restart_clock()
        return metrics

    def write_extras(self, folder: Path) -> None:
        """What the base class does not know of."""
        state = {**self.meter.state_dict(), "micro_batch": self.micro_batch}
        (folder / METER_FILE).write_text(json.dumps(state), encoding="utf-8")

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.meter.gather()
        super()._save_checkpoint(model, trial)
        self.meter.restart_clock()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and processes.is_main() and (meter := Path(checkpoint, METER_FILE)).is_file():
            state = json.loads(meter.read_text(encoding="utf-8"))
            self.meter.load_state_dict(state)
            if self.micro_batch is not None:
                self.micro_batch = state.get("micro_batch") or self.micro_batch

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        lengths = example_lengths(self.train_dataset if train_dataset is None else train_dataset)
        if lengths is None:
            base: Sampler[int] | None = super()._get_train_sampler(train_dataset)
            return base
        seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.accelerator.num_processes
        return LengthGroupedSampler(lengths, batch_size, seed, group=self.group_by_length)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """With several processes each loads its share of every optimizer step; else as the base class."""
        sampler = self._get_train_sampler() if self.args.world_size > 1 else None
        if not isinstance(sampler, LengthGroupedSampler):
            loader: DataLoader[Any] = super().get_train_dataloader()
            return loader
        micro, rank, count = self.args.train_batch_size, self.args.process_index, self.args.world_size
        loader = DataLoader(
            Fillable(self.train_dataset),
            batch_sampler=cast(Any, ShareOfBatches(sampler, micro, rank, count)),
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        # To accelerate this is one process's loader: it is divided already.
        shared: DataLoader[Any] = prepare_data_loader(
            loader, device=self.args.device, num_processes=1, process_index=0, put_on_device=True
        )
        return shared


def example_lengths(dataset: Any) -> Sequence[int] | None:
    """Tokens of each example: the data set's `lengths`, else counted; None where it has no length of its own."""
    lengths = getattr(dataset, "lengths", None)
    if lengths is not None:
        return cast(Sequence[int], lengths)
    if not hasattr(dataset, "__len__") or not len(dataset) or "input_ids" not in dataset[0]:
        return None
    return [len(example["input_ids"]) for example in dataset]


def _logits(outputs: Any) -> Tensor:
    logits: Tensor = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
    return logits
