"""Operations that one optimizer step dispatches, and those among them that read a tensor's values.

    python benchmarks/step_operations.py

A RoBERTa of 12 layers as wide as a thumb: the number of operations hangs on the layers, not on the width. R-Drop in one
doubled batch, bfloat16 autocast, from the batch to the cleared gradients. On a CPU; a GPU's attention is one operation.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, RobertaConfig, RobertaForSequenceClassification, TrainerCallback
from transformers import TrainingArguments as Arguments

from rdrop_cli.core.data.tokens import TokenDataset, Tokens
from rdrop_cli.core.model.fast_path import accelerate_training
from rdrop_cli.core.model.loading import quiet_transformers
from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer

SEED = 42

# By its path, so that versions without it can be counted too.
_spec = importlib.util.spec_from_file_location(
    "value_reads", Path(__file__).parent.parent / "rdrop_cli" / "core" / "model" / "value_reads.py"
)
assert _spec is not None and _spec.loader is not None
value_reads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(value_reads)


class CountOneStep(TrainerCallback):
    """Counts from the end of the second step to the end of the third."""

    def __init__(self) -> None:
        self.spy = value_reads.ValueReads()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 2:
            self.spy.__enter__()
        elif state.global_step == 3:
            self.spy.__exit__(None, None, None)


def make_collate(fast: bool) -> Any:
    """What a training would use; versions without a collator of their own give a mask always."""
    try:
        from rdrop_cli.core.model.collator import Collator
    except ImportError:
        return collate_as_before
    return Collator(pad_id=1, always_gives_mask=not fast)


def collate_as_before(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    rows = [torch.tensor(feature["input_ids"]) for feature in features]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1)
    labels = torch.tensor([feature["labels"] for feature in features])
    return {"input_ids": ids, "attention_mask": (ids != 1).long(), "labels": labels}


def count(passes: str, alpha: float, padded: bool, fast: bool) -> dict[str, Any]:
    """Operations of one step of four examples."""
    torch.manual_seed(SEED)
    shape = {"hidden_size": 24, "num_attention_heads": 12, "intermediate_size": 48, "vocab_size": 200}
    model = RobertaForSequenceClassification(RobertaConfig(num_hidden_layers=12, max_position_embeddings=66, **shape))
    if fast:
        accelerate_training(model)
    lengths = np.arange(49, 65) if padded else np.full(16, 64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.random.default_rng(SEED).integers(5, 200, size=offsets[-1]).astype(np.int32)
    dataset = TokenDataset(Tokens(ids, None, offsets, lengths.astype(np.int32)), np.arange(16) % 2)
    counter = CountOneStep()
    with tempfile.TemporaryDirectory() as folder:
        arguments = Arguments(
            output_dir=folder, per_device_train_batch_size=4, bf16=True, use_cpu=True, save_strategy="no",
            disable_tqdm=True, remove_unused_columns=False, label_names=["labels"], num_train_epochs=1,
            logging_strategy="no", report_to="none", logging_nan_inf_filter=False,
        )  # fmt: skip
        trainer = RDropTrainer(
            model=model, args=arguments, train_dataset=dataset, data_collator=make_collate(fast), alpha=alpha,
            passes=passes, callbacks=[counter],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    casts = counter.spy.operations["aten._to_copy"]
    return {
        "operations": counter.spy.operations.total(),
        "casts": casts,
        "value_reads": sum(counter.spy.reads.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    quiet_transformers()
    for name, passes, alpha in (
        ("concat", "concat", 5.0),
        ("sequential", "sequential", 5.0),
        ("alpha 0", "concat", 0.0),
    ):
        for padded in (True, False):
            for fast in (True, False):
                where = (
                    f"{name}, {'padding' if padded else 'no padding'}, {'fast path' if fast else 'PyTorch attention'}"
                )
                print(f"{where}: {json.dumps(count(passes, alpha, padded, fast))}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
