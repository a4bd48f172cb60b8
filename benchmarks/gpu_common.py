"""Models, data and trainers that the parts of the GPU benchmark share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PrinterCallback, RobertaConfig, RobertaForSequenceClassification, TrainingArguments

from rdrop_cli.config import load_config
from rdrop_cli.core.data.tokens import TokenDataset, Tokens
from rdrop_cli.core.model.collator import Collator, needs_mask
from rdrop_cli.core.model.fast_path import accelerate_training
from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer
from rdrop_cli.core.training.arguments import training_arguments

if TYPE_CHECKING:
    from rdrop_cli.core.model.device import Dtype

SEED, ALPHA, SMOOTHING = 42, 5.0, 0.1
PAD = 1


@dataclass(frozen=True)
class Setting:
    """Where, and whether only to see that it works."""

    device: str
    tiny: bool

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.device)

    @property
    def max_length(self) -> int:
        """Tokens of the longest text."""
        return 32 if self.tiny else 512

    @property
    def precisions(self) -> list[Dtype]:
        """The reduced ones that training has on this device."""
        return ["bfloat16", "float16"] if self.device == "cuda" else ["bfloat16"]


def build_model(setting: Setting, dropout: float = 0.1) -> Any:
    """A classifier for two classes with the shape of roberta-base and random weights."""
    torch.manual_seed(SEED)
    tiny = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    shape: dict[str, Any] = tiny | {"intermediate_size": 64} if setting.tiny else {"vocab_size": 50265}
    return RobertaForSequenceClassification(
        RobertaConfig(
            max_position_embeddings=514,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            **shape,
        )
    )


def make_dataset(lengths: Sequence[int], setting: Setting) -> TokenDataset:
    """Random tokens with random labels."""
    rng = np.random.default_rng(SEED)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(5, 200 if setting.tiny else 50000, size=offsets[-1]).astype(np.int32)
    return TokenDataset(
        Tokens(ids, None, offsets, np.asarray(lengths, dtype=np.int32)), rng.integers(2, size=len(lengths))
    )


def imdb_lengths(count: int, setting: Setting) -> list[int]:
    """Lengths spread as IMDb's: before the cut their median is 233 and their mean 314; 15 % are over 512.

    They are the quantiles of a log-normal distribution, in a fixed shuffled order.
    """
    spread = np.sqrt(2 * np.log(314 / 233))
    normal = NormalDist(float(np.log(233)), float(spread))
    quantiles = np.exp([normal.inv_cdf((index + 0.5) / count) for index in range(count)])
    cut = np.clip(quantiles * setting.max_length / 512, 8, setting.max_length).astype(int)
    return [int(length) for length in np.random.default_rng(SEED).permutation(cut)]


def make_arguments(folder: str, setting: Setting, precision: Dtype, **settings: Any) -> TrainingArguments:
    """What `rdrop train` would tell the Trainer, without evaluation, saving and logging."""
    train = {"batch_size": 16, "micro_batch_size": None, "epochs": 1, "lr": 2e-5, "tensorboard": False}
    train |= {"precision": precision, **settings}
    config = load_config("starter", [(f"train.{name}", value) for name, value in train.items()])
    arguments = training_arguments(config, Path(folder), setting.torch_device, precision)
    arguments.eval_strategy = arguments.save_strategy = arguments.logging_strategy = "no"
    return arguments


def make_trainer(
    folder: str,
    setting: Setting,
    precision: Dtype,
    model: Any,
    lengths: Sequence[int],
    *,
    kind: type[RDropTrainer] = RDropTrainer,
    arguments: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """A trainer as `rdrop train` has it."""
    inner = getattr(model, "inner", model)
    accelerate_training(inner)
    trainer = kind(
        model=model,
        args=make_arguments(folder, setting, precision, **(arguments or {})),
        train_dataset=make_dataset(lengths, setting),
        data_collator=Collator(PAD, always_gives_mask=needs_mask(inner)),
        **{"alpha": ALPHA, "label_smoothing": SMOOTHING} | options,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
