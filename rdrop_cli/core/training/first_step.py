"""Try one step before training begins, and adapt the configuration to what works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rdrop_cli import processes
from rdrop_cli.core.loss import cross_entropy, log_probabilities, rdrop_loss
from rdrop_cli.core.model import device as devices
from rdrop_cli.core.model import probes, trial
from rdrop_cli.core.model.collator import Collator, make_collator
from rdrop_cli.core.model.exact_length import PADDING_MATTERS
from rdrop_cli.core.model.fast_path import use_stock_kernels
from rdrop_cli.core.model.head import keep_head_in_float32
from rdrop_cli.core.model.loading import map_loading_errors
from rdrop_cli.core.training.failures import SMALLER

if TYPE_CHECKING:
    from rdrop_cli.core.model.device import Dtype
    from rdrop_cli.schema import Config


@dataclass(frozen=True)
class FirstStep:
    """The result of the trial.

    Attributes:
        config: As configured, with the precision and the kernels that work. The run records this configuration, so
            that a resumed run and an evaluation compute in the same way.
        fallbacks: The requested value of each key of `config` that had to be replaced.
        by_exact_length: Padding would change the model's predictions.
        collate: Makes batches for the kernels in use.
    """

    config: Config
    precision: Dtype
    fallbacks: dict[str, Any]
    by_exact_length: bool
    collate: Collator


def try_first_step(
    model: Any,
    tokenizer: Any,
    config: Config,
    device: torch.device,
    precision: Dtype,
    *,
    segments: bool,
    notice: Callable[[str], None],
) -> FirstStep:
    """Move a classifier to its device and try a step there; no weight is changed.

    Args:
        model: On the CPU, in float32, with the kernels to train with.
        segments: Its inputs have type ids.
        notice: Called with one line about anything that does not work.

    Raises:
        ModelError: the step fails with every precision and kernel, or memory ran out.
    """
    train, collate = config.train, make_collator(tokenizer, model)
    # Batch norm fails on a batch of a single row, so use one row only if training would.
    count = 2 if config.rdrop.alpha or (train.batch_size > 1 and train.micro_batch_size != 1) else 1
    rows = probes.made_up(tokenizer, model, [config.model.max_length] * count, segments=segments)

    def loss(logits: Tensor) -> Tensor:
        return _loss(logits, config)

    with (
        map_loading_errors(config.model.name, "model"),
        devices.map_memory_errors(device, SMALLER),
    ):
        short = probes.made_up(tokenizer, model, [probes.SHORT, probes.LONG])
        keep_head_in_float32(model, probes.batch_of(short, collate))
        by_exact_length = probes.depends_on_padding(model, tokenizer, collate)
        if train.gradient_checkpointing:
            model.activation_checkpointing_enable()
        settled = trial.settle_training(model, tokenizer, rows, collate, loss, device, precision, notice)
    if by_exact_length:
        notice(PADDING_MATTERS)
    # All processes must compute in the same way, so each adopts what any of them needs.
    fallbacks: dict[str, Any] = {}
    if processes.any_of(settled.precision != precision):
        fallbacks["train.precision"], precision = precision, "float32"
    fast = train.fast
    if fast and processes.any_of(not settled.fast):
        use_stock_kernels(model)
        fallbacks["train.fast"], fast = True, False
    train = train.model_copy(update={"precision": precision, "fast": fast})
    works = config.model_copy(update={"train": train})
    return FirstStep(works, precision, fallbacks, by_exact_length, make_collator(tokenizer, model))


def _loss(logits: Tensor, config: Config) -> Tensor:
    """The loss of the trial's rows, all labelled as the first class; two rows count as two passes over one text."""
    labels = torch.zeros(1, dtype=torch.long, device=logits.device)
    if not config.rdrop.alpha:
        return cross_entropy(log_probabilities(logits), labels.expand(len(logits)), config.train.label_smoothing)
    return rdrop_loss(logits[:1], logits[1:], labels, alpha=config.rdrop.alpha).total
