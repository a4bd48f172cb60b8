"""The three ways of training that are compared, and the process that each of them is timed in."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import machine
import numpy as np
import torch
import torch.nn.functional as F
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    MPNetConfig,
    MPNetForSequenceClassification,
    PrinterCallback,
    RobertaConfig,
    RobertaForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from rdrop_cli.config import load_config
from rdrop_cli.core.data.labels import LabelMap
from rdrop_cli.core.data.tokens import TokenDataset, Tokens
from rdrop_cli.core.model.collator import make_collator
from rdrop_cli.core.model.device import pick_device, pick_precision
from rdrop_cli.core.model.fast_path import accelerate_training
from rdrop_cli.core.model.loading import load_classifier, quiet_transformers
from rdrop_cli.core.model.tokenizer import load_tokenizer
from rdrop_cli.core.storage import starter
from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer

ARMS = ("stock plain", "stock R-Drop", "rdrop")
ALPHA, SMOOTHING, SEED = 5.0, 0.1, 42


@dataclass(frozen=True)
class Job:
    """What every arm gets: the model's name and the examples, in rdrop's batches."""

    model: str
    batch_size: int
    tokens: Tokens
    labels: np.ndarray
    order: list[int]


class StockRDrop(Trainer):
    """R-Drop the stock way: two forward passes over the batch."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        labels = inputs.pop("labels")
        first, second = model(**inputs).logits, model(**inputs).logits
        ce = sum(F.cross_entropy(logits, labels, label_smoothing=SMOOTHING) for logits in (first, second)) / 2
        p, q = F.log_softmax(first.float(), -1), F.log_softmax(second.float(), -1)
        kl = (
            F.kl_div(p, q, reduction="batchmean", log_target=True)
            + F.kl_div(q, p, reduction="batchmean", log_target=True)
        ) / 2
        return ce + ALPHA * kl


class GivenOrder(RDropTrainer):
    """Takes the data set's examples as they come: rdrop's batches, chosen beforehand."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


class Stopwatch(TrainerCallback):
    """Seconds of the training loop."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        machine.synchronize()
        self.began = time.perf_counter()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        machine.synchronize()
        self.seconds = time.perf_counter() - self.began


def build_model(name: str) -> Any:
    """A fresh classifier for two classes; the shapes other than the starter's have random weights."""
    torch.manual_seed(SEED)
    if name == "starter":
        return load_classifier(
            str(starter.model_folder()), load_config("starter").model, LabelMap(("n", "p")), seed=SEED
        )
    if name == "roberta-base":
        return RobertaForSequenceClassification(RobertaConfig(max_position_embeddings=514))
    if name == "mpnet-base":
        return MPNetForSequenceClassification(MPNetConfig(max_position_embeddings=514))
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    return BertForSequenceClassification(BertConfig(vocab_size=30522, **shape))


def arguments(folder: str, job: Job, **precision: bool) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=job.batch_size,
        num_train_epochs=1,
        save_strategy="no",
        logging_steps=50,
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        seed=SEED,
        use_cpu=pick_device().type == "cpu",
        **precision,
    )


def trainer(arm: str, job: Job, folder: str) -> Trainer:
    """The arm's trainer, with a clock."""
    device = pick_device()
    model = build_model(job.model)
    dataset = TokenDataset(job.tokens, job.labels, np.asarray(job.order))
    tokenizer = load_tokenizer(str(starter.model_folder()), max_length=512)
    common = {"model": model, "train_dataset": dataset, "data_collator": DataCollatorWithPadding(tokenizer)}
    if arm == "rdrop":
        accelerate_training(model)
        common["data_collator"] = make_collator(tokenizer, model)
        args = arguments(folder, job, bf16=pick_precision("auto", device) == "bfloat16")
        made: Trainer = GivenOrder(args=args, alpha=ALPHA, label_smoothing=SMOOTHING, **common)
    else:
        args = arguments(folder, job, fp16=device.type == "cuda")
        made = (StockRDrop if arm == "stock R-Drop" else Trainer)(args=args, **common)
    made.remove_callback(PrinterCallback)
    made.add_callback(Stopwatch())
    return made


def work(arm: str, job: Job, pipe: Connection) -> None:
    """A process that trains a round whenever it is told to, and says how long that took."""
    quiet_transformers()
    with tempfile.TemporaryDirectory() as folder:
        made = trainer(arm, job, folder)
        clock = next(callback for callback in made.callback_handler.callbacks if isinstance(callback, Stopwatch))
        pipe.send("ready")
        while pipe.recv():
            made.train()
            pipe.send(clock.seconds)
        pipe.send(machine.peak_bytes())
