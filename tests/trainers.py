"""What tests of trainers share: a small model and data set, and a trainer that keeps each step's gradient."""

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, TrainingArguments

from rdrop_cli.core.data.tokens import TokenDataset, Tokens
from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer


def make_model(dropout=0.0, **config):
    torch.manual_seed(0)
    settings = {
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 32,
        "num_labels": 3,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    return BertForSequenceClassification(BertConfig(**(settings | config)))


def make_dataset(count, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 12, size=count)
    ids = rng.integers(4, 50, size=lengths.sum()).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return TokenDataset(Tokens(ids, None, offsets, lengths.astype(np.int32)), rng.integers(3, size=count))


def collate(features):
    width = max(len(feature["input_ids"]) for feature in features)
    return {
        "input_ids": torch.tensor([[*f["input_ids"], *[0] * (width - len(f["input_ids"]))] for f in features]),
        "attention_mask": torch.tensor(
            [[1] * len(f["input_ids"]) + [0] * (width - len(f["input_ids"])) for f in features]
        ),
        "labels": torch.tensor([feature["labels"] for feature in features]),
    }


class StepGradients(RDropTrainer):
    """Keeps the gradient that each optimizer step sees."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.gradients = []

    def _clip_grad_norm(self, model):
        flat = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        self.gradients.append(torch.cat(flat).clone())
        return super()._clip_grad_norm(model)


def make_trainer(tmp_path, *, examples=16, micro=8, accumulate=1, alpha=5.0, model=None, kind=StepGradients, **options):
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulate,
        num_train_epochs=1,
        learning_rate=0.0,
        max_grad_norm=1e9,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        logging_steps=1,
    )
    return kind(
        model=model if model is not None else make_model(),
        args=arguments,
        train_dataset=make_dataset(examples),
        data_collator=collate,
        alpha=alpha,
        **options,
    )
