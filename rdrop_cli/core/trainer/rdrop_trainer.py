"""Hugging Face's Trainer with the R-Drop loss, right under accumulation, ragged steps and data parallelism."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from rdrop_cli import processes
from rdrop_cli.core.loss import CEReduction, check_parameters, cross_entropy, log_probabilities, rdrop_loss
from rdrop_cli.core.trainer.micro_batches import MicroBatches
from rdrop_cli.core.trainer.sampler import NO_EXAMPLE, Fillable, LengthGroupedSampler, ShareOfBatches

METER_FILE = "loss_meter.json"
"""In a checkpoint: the running means of the log entry that was being collected, and the micro-batch found."""


class RDropTrainer(MicroBatches):
    """A `transformers.Trainer` that trains with R-Drop; everything else is as in the base class.

    Every term of the loss is a mean over the examples of the optimizer step, so alpha means the same at any batch
    size, accumulation or number of devices. Evaluation is one deterministic pass with the plain, unsmoothed loss.

    Args:
        alpha: Weight of the symmetric KL divergence between the two passes; 0 makes one pass only.
        label_smoothing: Of the cross-entropy; None: `args.label_smoothing_factor`.
        ce_reduction: As in `rdrop_loss`; with alpha 0 the one cross-entropy is counted twice for `sum`.
        passes: `concat` runs one forward over [x; x], `sequential` two forwards over x.
        group_by_length: Whether batches hold examples of similar length.
        kwargs: As the base classes take them: `auto_micro_batch` and `on_micro_batch` (see `MicroBatches`), and
            what a `transformers.Trainer` takes.

    Raises:
        ValueError: a parameter out of range; when training begins, a label of -100 in a data set that has a length.
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
        self._has_fillers = False
        self._step_sizes: list[int] = []

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

        rows = len(labels)
        # Weights instead of a selection, whose size Python would have to ask the device for.
        weights = (labels != NO_EXAMPLE).float() if self._has_fillers else None
        mask = features.get("attention_mask")
        tokens = mask.sum() if mask is not None else features["input_ids"].numel()
        parts: dict[str, Tensor]
        if self.alpha == 0:
            outputs = model(**features)
            ce = cross_entropy(log_probabilities(_logits(outputs)), labels, self.label_smoothing, weights)
            total = ce * 2 if self.ce_reduction == "sum" else ce
            parts = {"loss": total, "ce": total}
        else:
            outputs, logits_a, logits_b = self._two_passes(model, features, rows)
            total, ce, kl = rdrop_loss(
                logits_a,
                logits_b,
                labels,
                alpha=self.alpha,
                label_smoothing=self.label_smoothing,
                ce_reduction=self.ce_reduction,
                weights=weights,
            )
            agrees = (logits_a.argmax(-1) == logits_b.argmax(-1)).float()
            parts = {"loss": total, "ce": ce, "kl": kl, "agree": _mean_or_sum(agrees, weights)}

        # A sum over rows divided by all rows of the step. Data parallelism averages gradients over processes,
        # which the factor undoes.
        if weights is None:
            self.meter.add(rows, tokens, **parts)
            if num_items_in_batch is not None:
                total = total * (rows * self.accelerator.num_processes / num_items_in_batch)
        else:
            counted = weights.sum()
            self.meter.add_sums(counted, tokens, **parts)
            if num_items_in_batch is not None:
                total = total * (self.accelerator.num_processes / num_items_in_batch)
            else:
                total = total / counted.clamp(min=1)
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

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor | int | None:
        """The number of examples of one optimizer step over all processes, known without asking the device or others.

        The base class counts only for models that take **kwargs; the loss needs the count for every model.
        """
        if self._step_sizes:
            return self._step_sizes[self.state.global_step % len(self._step_sizes)]
        if not self._has_fillers:
            return sum(len(batch["labels"]) for batch in batch_samples)
        counted = torch.stack([(batch["labels"] != NO_EXAMPLE).sum() for batch in batch_samples]).sum().to(device)
        return self.accelerator.gather(counted[None]).sum() if self.args.world_size > 1 else counted

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """0: nothing shows them, and counting walks over all parameters at every micro-batch."""
        return 0

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

    def release(self) -> None:
        """Give the device's memory back: the model moves to the CPU and the optimizer goes; training is over then."""
        self.model_wrapped = self.model.cpu()
        self.optimizer = self.lr_scheduler = None
        self.callback_handler.optimizer = self.callback_handler.lr_scheduler = None
        self.accelerator.free_memory()

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
        if checkpoint is not None and processes.is_main_process() and (meter := Path(checkpoint, METER_FILE)).is_file():
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
        has_length = hasattr(self.train_dataset, "__len__")
        if has_length:
            refuse_ignored_labels(self.train_dataset)
        self._has_fillers = self.args.world_size > 1 or not has_length
        self._step_sizes = []
        sampler = self._get_train_sampler() if self.args.world_size > 1 else None
        if not isinstance(sampler, LengthGroupedSampler):
            loader: DataLoader[Any] = super().get_train_dataloader()
            return loader
        micro, rank, count = self.args.train_batch_size, self.args.process_index, self.args.world_size
        shares = ShareOfBatches(sampler, micro, rank, count)
        self._step_sizes = shares.sizes()
        loader = DataLoader(
            Fillable(self.train_dataset),
            batch_sampler=cast("Any", shares),
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
        )
        # To accelerate this is one process's loader: it is divided already.
        shared: DataLoader[Any] = prepare_data_loader(
            loader,
            device=self.args.device,
            num_processes=1,
            process_index=0,
            put_on_device=True,
            non_blocking=self.accelerator.non_blocking,
        )
        return shared


def refuse_ignored_labels(dataset: Any) -> None:
    """Make sure that every example counts: the divisor of a step's loss is its number of examples.

    Raises:
        ValueError: a label of -100, which torch's cross-entropy leaves out but the divergence does not.
    """
    labels = getattr(dataset, "targets", None)
    if labels is None:
        examples = (dataset[index] for index in range(len(dataset)))
        labels = [example.get("labels", example.get("label", 0)) for example in examples]
    ignored = np.flatnonzero(np.asarray(labels) == NO_EXAMPLE)
    if len(ignored):
        raise ValueError(
            f"{len(ignored)} training examples have the label {NO_EXAMPLE}, which stands for no example;"
            f" the first is number {ignored[0]}: leave them out of the data set"
        )


def _mean_or_sum(values: Tensor, weights: Tensor | None) -> Tensor:
    return values.mean() if weights is None else (values * weights).sum()


def example_lengths(dataset: Any) -> Sequence[int] | None:
    """Tokens of each example: the data set's `lengths`, else counted; None where it has no length of its own."""
    lengths = getattr(dataset, "lengths", None)
    if lengths is not None:
        return cast("Sequence[int]", lengths)
    if not hasattr(dataset, "__len__") or not len(dataset) or "input_ids" not in dataset[0]:
        return None
    return [len(example["input_ids"]) for example in dataset]


def _logits(outputs: Any) -> Tensor:
    logits: Tensor = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
    return logits
