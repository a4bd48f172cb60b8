"""Hugging Face's Trainer with the R-Drop loss, correct with gradient accumulation, partial steps and data parallelism.

How a step's gradient is scaled: `rdrop_loss` gives a mean over the rows of one forward pass. `compute_loss` turns it
into a sum over these rows divided by the examples of the whole optimizer step, over all micro-batches and processes.
The gradients of micro-batches are added, so their sum is that of the step's mean even if micro-batches differ in size,
as the last ones of an epoch may. Data parallelism averages gradients over processes instead of adding them, which the
factor `num_processes` undoes. The base class must not divide again: `loss_is_scaled_for_ga`.

The trainer is a chain of classes with one subject each, from `transformers.Trainer` on: `WholeCheckpoints` (checkpoints
that are whole or absent), `AveragedWeights` (an average of the weights, part of these checkpoints), `MicroBatches` (a
step in several forward passes, and the sums for the log), and here the loss and the order of the examples.
"""

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
from rdrop_cli.core.loss import (
    CEReduction,
    RDropLoss,
    check_parameters,
    cross_entropy,
    log_probabilities,
    rdrop_loss,
    symmetric_kl,
)
from rdrop_cli.core.storage.numbered import LOSS_METER
from rdrop_cli.core.trainer.micro_batches import MicroBatches
from rdrop_cli.core.trainer.noise import noisy_embeddings, without_dropout
from rdrop_cli.core.trainer.process_shares import NO_EXAMPLE, Fillable, ShareOfBatches
from rdrop_cli.core.trainer.sampler import LengthGroupedSampler


class RDropTrainer(MicroBatches):
    """A `transformers.Trainer` that trains with R-Drop and otherwise behaves like the base class.

    Every term of the loss is a mean over the examples of the optimizer step, so that alpha has the same meaning with
    any batch size, accumulation or number of devices. Evaluation is one deterministic pass with the plain, unsmoothed
    loss.

    Args:
        alpha: Weight of the symmetric KL divergence between the two passes; with 0 there is only one pass.
        alpha_warmup: Share of the training's steps during which alpha rises linearly from 0 to its value.
        two_passes: Make both passes with alpha 0 too: the mean of two cross-entropies without the divergence.
        noise: Above 0, R3F (see `noise`): the cross-entropy is that of one pass with dropout, and the divergence is
            between two further ones without, the second with uniform noise of this size on the token embeddings.
        label_smoothing: For the cross-entropy; None: `args.label_smoothing_factor`.
        ce_reduction: As in `rdrop_loss`; with alpha 0 and `sum`, the single cross-entropy is counted twice.
        class_weights: Weight of each class in the training's cross-entropy, as in `rdrop_loss`, in the order of the
            ids; None: 1 for every class. The logged ce is the weighted one; evaluation ignores the weights.
        passes: `concat` runs one forward pass over [x; x], `sequential` two forward passes over x.
        group_by_length: Make batches of examples of similar length.
        kwargs: Arguments of the base classes: `auto_micro_batch` and `on_micro_batch` (see `MicroBatches`), `ema` (see
            `AveragedWeights`), and those of `transformers.Trainer`.

    Raises:
        ValueError: a parameter is out of range; when training begins: a data set with a length has a label of -100.
    """

    # compute_loss divides by the examples of the whole optimizer step itself.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *args: Any,
        alpha: float,
        alpha_warmup: float = 0.0,
        two_passes: bool = False,
        noise: float = 0.0,
        label_smoothing: float | None = None,
        ce_reduction: CEReduction = "mean",
        class_weights: Sequence[float] | None = None,
        passes: str = "concat",
        group_by_length: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.alpha = alpha
        self.alpha_warmup = alpha_warmup
        self.two_passes = two_passes or alpha > 0
        self.noise = noise
        for name, value, top in (("alpha_warmup", alpha_warmup, 1.0), ("noise", noise, math.inf)):
            if not 0 <= value < top:
                raise ValueError(f"{name} must be at least 0 and less than {top:g}, got {value}")
        self.label_smoothing = self.args.label_smoothing_factor if label_smoothing is None else label_smoothing
        self.ce_reduction: CEReduction = ce_reduction
        check_parameters(alpha, self.label_smoothing, ce_reduction)
        if passes not in ("concat", "sequential"):
            raise ValueError(f"passes must be 'concat' or 'sequential', got {passes!r}")
        if class_weights is not None and not all(math.isfinite(each) and each >= 0 for each in class_weights):
            raise ValueError(f"class_weights must be finite and not negative, got {list(class_weights)}")
        self.class_weights: Tensor | None = None
        if class_weights is not None:
            self.class_weights = torch.tensor(class_weights, dtype=torch.float32, device=self.args.device)
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
        """The R-Drop loss in training, the plain cross-entropy in evaluation.

        Args:
            inputs: The model's inputs with `labels`, (batch,) int64.
            num_items_in_batch: Examples of the whole optimizer step over all processes; None: those of this batch.

        Returns:
            The loss, a scalar; with `return_outputs` also the model's outputs (of the first pass).
        """
        labels = inputs["labels"]
        features = {name: value for name, value in inputs.items() if name != "labels"}
        if not model.training:
            logits = _logits(model(**features))
            loss = cross_entropy(log_probabilities(logits), labels)
            # Only the logits, since the base class would gather any other output as predictions too.
            return (loss, {"logits": logits}) if return_outputs else loss

        # Weights of 0 and 1 instead of a selection: its size would depend on values, for which Python would have to
        # wait for the device.
        weights = (labels != NO_EXAMPLE).float() if self._has_fillers else None
        outputs, parts = self._training_parts(model, features, labels, weights)
        mask = features.get("attention_mask")
        tokens = mask.sum() if mask is not None else features["input_ids"].numel()
        # See the module's docstring. The parts without weights are means over the rows, with weights sums.
        total = parts["loss"]
        if weights is None:
            self.meter.add(len(labels), tokens, **parts)
            if num_items_in_batch is not None:
                total = total * (len(labels) * self.accelerator.num_processes / num_items_in_batch)
        else:
            counted = weights.sum()
            self.meter.add_sums(counted, tokens, **parts)
            if num_items_in_batch is not None:
                total = total * (self.accelerator.num_processes / num_items_in_batch)
            else:
                total = total / counted.clamp(min=1)
        return (total, outputs) if return_outputs else total

    def _training_parts(
        self, model: nn.Module, features: dict[str, Any], labels: Tensor, weights: Tensor | None
    ) -> tuple[Any, dict[str, Tensor]]:
        """The model's outputs (of the first pass), and the loss with its parts; sums instead of means with weights."""
        if not self.two_passes:
            outputs, total = self._one_pass(model, features, labels, weights)
            return outputs, {"loss": total, "ce": total}
        if self.noise:
            outputs, logits_a, logits_b, (total, ce, kl) = self._noisy_pair(model, features, labels, weights)
        else:
            outputs, logits_a, logits_b = self._two_passes(model, features, len(labels))
            total, ce, kl = rdrop_loss(
                logits_a,
                logits_b,
                labels,
                alpha=self._alpha_now(),
                label_smoothing=self.label_smoothing,
                ce_reduction=self.ce_reduction,
                weights=weights,
                class_weights=self.class_weights,
            )
        agrees = (logits_a.argmax(-1) == logits_b.argmax(-1)).float()
        return outputs, {"loss": total, "ce": ce, "kl": kl, "agree": _mean_or_sum(agrees, weights)}

    def _alpha_now(self) -> float:
        """alpha at this step, which rises to its value during the warm-up."""
        rising = self.alpha_warmup * self.state.max_steps
        return self.alpha * min(1.0, self.state.global_step / rising) if rising else self.alpha

    def _one_pass(
        self, model: nn.Module, features: dict[str, Any], labels: Tensor, weights: Tensor | None
    ) -> tuple[Any, Tensor]:
        """Outputs of one pass, and the cross-entropy."""
        outputs = model(**features)
        log_p = log_probabilities(_logits(outputs))
        ce = cross_entropy(log_p, labels, self.label_smoothing, weights, self.class_weights)
        return outputs, ce * 2 if self.ce_reduction == "sum" else ce

    def _noisy_pair(
        self, model: nn.Module, features: dict[str, Any], labels: Tensor, weights: Tensor | None
    ) -> tuple[Any, Tensor, Tensor, RDropLoss]:
        """Outputs of the pass with dropout, the logits of the two without, and R3F's loss."""
        outputs, ce = self._one_pass(model, features, labels, weights)
        with without_dropout(model):
            if self.passes == "sequential":
                clean = _logits(model(**features))
                with noisy_embeddings(self.model, self.noise, 0):
                    noisy = _logits(model(**features))
            else:
                with noisy_embeddings(self.model, self.noise, len(labels)):
                    _, clean, noisy = self._two_passes(model, features, len(labels))
        kl = symmetric_kl(log_probabilities(clean), log_probabilities(noisy), weights)
        return outputs, clean, noisy, RDropLoss(ce + self._alpha_now() * kl, ce, kl)

    def _two_passes(self, model: nn.Module, features: dict[str, Any], rows: int) -> tuple[Any, Tensor, Tensor]:
        """Outputs of the first pass, and the logits of both passes, (batch, classes) each."""
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
        """The number of examples of one optimizer step over all processes.

        The base class counts only for models whose forward takes **kwargs, but this loss needs the count for every
        model. If the sampler knows the sizes of all steps, neither the device nor other processes are asked.
        """
        if self._step_sizes:
            return self._step_sizes[self.state.global_step % len(self._step_sizes)]
        if not self._has_fillers:
            return sum(len(batch["labels"]) for batch in batch_samples)
        counted = torch.stack([(batch["labels"] != NO_EXAMPLE).sum() for batch in batch_samples]).sum().to(device)
        return self.accelerator.gather(counted[None]).sum() if self.args.world_size > 1 else counted

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Always 0: rdrop does not report it, and counting would visit all parameters for every micro-batch."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Replace the base class's loss, a mean of step means, by the mean over examples, and add its parts."""
        if "loss" in logs:
            self.meter.gather()
            logs |= self.meter.means(two_passes=self.two_passes, alpha=None if self.alpha_warmup else self.alpha)
            self.meter.reset()
            if not math.isfinite(logs["loss"]):
                raise FloatingPointError(f"the loss became {logs['loss']} by step {self.state.global_step}")
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Like the base class; its time is not counted in the training rates, nor is that of saving."""
        metrics: dict[str, float] = super().evaluate(*args, **kwargs)
        self.meter.restart_clock()
        return metrics

    def release(self) -> None:
        """Free the device's memory after training: move the model to the CPU and drop the optimizer."""
        self.model_wrapped = self.model.cpu()
        self.optimizer = self.lr_scheduler = None
        self.callback_handler.optimizer = self.callback_handler.lr_scheduler = None
        self.average = None
        self.accelerator.free_memory()

    def write_extras(self, folder: Path) -> None:
        """Write the loss sums and the micro-batch size, so that a resumed run continues both."""
        super().write_extras(folder)
        state = {**self.meter.state_dict(), "micro_batch": self.micro_batch}
        (folder / LOSS_METER).write_text(json.dumps(state), encoding="utf-8")

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.meter.gather()
        super()._save_checkpoint(model, trial)
        self.meter.restart_clock()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and processes.is_main_process() and (meter := Path(checkpoint, LOSS_METER)).is_file():
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
        """With several processes, each loads its share of every optimizer step; otherwise like the base class."""
        has_length = hasattr(self.train_dataset, "__len__")
        if has_length:
            refuse_ignored_labels(self.train_dataset)
        # A data set without a length cannot be searched for labels of -100 in advance, so they get a weight of 0.
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
        # The batches are already divided among the processes, so accelerate must treat this as a single process.
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
    """Refuse labels of -100: a step's loss is divided by its number of examples, so every example must count.

    Raises:
        ValueError: an example has this label, which torch's cross-entropy ignores but the divergence does not.
    """
    labels = getattr(dataset, "targets", None)
    if labels is None:
        examples = (dataset[index] for index in range(len(dataset)))
        labels = [example.get("labels", example.get("label", 0)) for example in examples]
    ignored = np.flatnonzero(np.asarray(labels) == NO_EXAMPLE)
    if len(ignored):
        raise ValueError(
            f"{len(ignored)} training examples have the label {NO_EXAMPLE}, which marks ignored examples; the first has"
            f" index {ignored[0]}: remove them from the data set"
        )


def _mean_or_sum(values: Tensor, weights: Tensor | None) -> Tensor:
    return values.mean() if weights is None else (values * weights).sum()


def example_lengths(dataset: Any) -> Sequence[int] | None:
    """Tokens of each example: the data set's `lengths`, else counted; None for a data set without a length."""
    lengths = getattr(dataset, "lengths", None)
    if lengths is not None:
        return cast("Sequence[int]", lengths)
    if not hasattr(dataset, "__len__") or not len(dataset) or "input_ids" not in dataset[0]:
        return None
    return [len(example["input_ids"]) for example in dataset]


def _logits(outputs: Any) -> Tensor:
    logits: Tensor = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
    return logits
