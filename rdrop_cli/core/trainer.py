"""Hugging Face's Trainer with the R-Drop loss, right under accumulation, ragged steps and data parallelism."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from rdrop_cli.core.files import writing
from rdrop_cli.core.loss import CEReduction, check_parameters, cross_entropy, log_probabilities, rdrop_loss
from rdrop_cli.core.meter import LossMeter
from rdrop_cli.core.sampler import LengthGroupedSampler

METER_FILE = "loss_meter.json"
"""In a checkpoint: the running means of the log entry that was being collected."""


class RDropTrainer(Trainer):
    """A `transformers.Trainer` that trains with R-Drop; everything else is as in the base class.

    Every term of the loss is a mean over the examples of the optimizer step, so alpha means the same at any batch
    size, accumulation or number of devices. Evaluation is one deterministic pass with the plain, unsmoothed loss.

    Args:
        alpha: Weight of the symmetric KL divergence between the two passes; 0 makes one pass only.
        label_smoothing: Of the cross-entropy; None: `args.label_smoothing_factor`.
        ce_reduction: As in `rdrop_loss`; with alpha 0 the one cross-entropy is counted twice for `sum`.
        passes: `concat` runs one forward over [x; x], `sequential` two forwards over x.
        group_by_length: Whether batches hold examples of similar length.

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
        self.meter = LossMeter()
        self._staging: str | None = None

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
        mask = features.get("attention_mask")
        tokens = mask.sum() if mask is not None else features["input_ids"].numel()
        if self.alpha == 0:
            outputs = model(**features)
            ce = cross_entropy(log_probabilities(_logits(outputs)), labels, self.label_smoothing)
            total = ce * 2 if self.ce_reduction == "sum" else ce
            self.meter.add(rows, tokens, loss=total, ce=total)
        else:
            outputs, logits_a, logits_b = self._two_passes(model, features, rows)
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

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        """The micro-batches of one optimizer step and their number of examples over all processes.

        The base class counts only for models that take **kwargs; the loss needs the count for every model.
        """
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        examples: Tensor | int = sum(len(batch["labels"]) for batch in batches)
        if self.accelerator.num_processes > 1:
            examples = self.accelerator.gather(torch.tensor([examples], device=device)).sum()
        return batches, examples

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Replace the base class's loss, a mean of step means, by means over examples, and add the parts."""
        if "loss" in logs:
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

    def _get_output_dir(self, trial: Any) -> str:
        return self._staging or str(super()._get_output_dir(trial))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save beside the final place and rename, so that a kill in the middle leaves no broken checkpoint.

        With several processes, which all write into one checkpoint, it is saved in place as the base class does.
        """
        if self.accelerator.num_processes > 1:
            super()._save_checkpoint(model, trial)
            return
        folder = Path(super()._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            with writing(folder / name) as staging:
                self._staging = str(staging.with_suffix(".saving"))
                super()._save_checkpoint(model, trial)
                Path(self._staging, name).rename(staging)
                best = folder / f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}"
                is_kept = best.is_dir() or best.name == name
                self.state.best_model_checkpoint = str(best) if is_kept else None
                self.state.save_to_json(str(staging / TRAINER_STATE_NAME))
                (staging / METER_FILE).write_text(json.dumps(self.meter.state_dict()), encoding="utf-8")
                (staging / TRAINING_ARGS_NAME).unlink(missing_ok=True)  # a pickle that nothing reads
        finally:
            if self._staging:
                shutil.rmtree(self._staging, ignore_errors=True)
            self._staging, self.args.save_total_limit = None, limit
        self.meter.restart_clock()
        rotate_checkpoints(
            output_dir=str(folder),
            save_total_limit=limit,
            best_model_checkpoint=self.state.best_model_checkpoint if self.args.load_best_model_at_end else None,
        )

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and (meter := Path(checkpoint, METER_FILE)).is_file():
            self.meter.load_state_dict(json.loads(meter.read_text(encoding="utf-8")))

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        lengths = example_lengths(self.train_dataset if train_dataset is None else train_dataset)
        if lengths is None:
            base: Sampler[int] | None = super()._get_train_sampler(train_dataset)
            return base
        seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.accelerator.num_processes
        return LengthGroupedSampler(lengths, batch_size, seed, group=self.group_by_length)


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
