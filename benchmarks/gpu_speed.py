"""Parts of the GPU benchmark that time training beside transformers' stock Trainer."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from typing import TYPE_CHECKING, Any

import machine
import numpy as np
import torch
from arms import StockRDrop
from gpu_common import PAD, Setting, build_model, imdb_lengths, make_dataset, make_trainer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.autograd import DeviceType
from transformers import (
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from rdrop_cli.core.model.memory import peak_memory, reset_peak_memory

if TYPE_CHECKING:
    from rdrop_cli.core.model.device import Dtype

BATCH, EPOCHS = 16, 4


class Epochs(TrainerCallback):
    """Seconds of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        machine.synchronize()
        self.began = time.perf_counter()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        machine.synchronize()
        self.seconds.append(time.perf_counter() - self.began)


def flops(model: Any, lengths: np.ndarray, passes: int, *, first_token: bool) -> float:
    """Of the matrix products that real tokens need, forward and backward (twice the forward).

    Args:
        first_token: The last layer's query, output and feed-forward are computed for one token alone, as rdrop does.
    """
    config = model.config
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    tokens = lengths.astype(float)
    layer = tokens * 2 * (4 * width**2 + 2 * width * inner) + tokens**2 * 4 * width
    total = layers * layer
    if first_token:
        one = 2 * (2 * width**2 * tokens + 2 * width**2 + 2 * width * inner) + tokens * 4 * width
        total = total - layer + one
    return float(3 * total.sum() * passes)


def stock_trainer(kind: type[Trainer], folder: str, setting: Setting, precision: Dtype, lengths: list[int]) -> Trainer:
    """transformers' Trainer as it comes: random batches, padded to their longest text, each with its mask."""
    inner = Tokenizer(WordLevel({"[UNK]": 0, "[PAD]": PAD}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]")
    dataset = make_dataset(lengths, setting)
    examples: Any = [
        {"input_ids": example["input_ids"].tolist(), "labels": example["labels"]}
        for example in (dataset[index] for index in range(len(dataset)))
    ]
    return kind(
        model=build_model(setting),
        args=TrainingArguments(
            output_dir=folder, per_device_train_batch_size=BATCH, num_train_epochs=EPOCHS, save_strategy="no",
            logging_strategy="no", disable_tqdm=True, remove_unused_columns=False, label_names=["labels"],
            report_to="none", learning_rate=2e-5, use_cpu=setting.device == "cpu", bf16=precision == "bfloat16",
            fp16=precision == "float16",
        ),
        train_dataset=examples,
        data_collator=DataCollatorWithPadding(tokenizer),
    )  # fmt: skip


def time_arm(arm: str, setting: Setting, precision: Dtype, lengths: list[int], product: float) -> dict[str, Any]:
    """Train four epochs, of which the middle one of the last three counts."""
    reset_peak_memory(setting.torch_device)
    alpha = 5.0 if arm.endswith("R-Drop") else 0.0
    with tempfile.TemporaryDirectory() as folder:
        if arm.startswith("stock"):
            made: Any = stock_trainer(StockRDrop if alpha else Trainer, folder, setting, precision, lengths)
        else:
            model = build_model(setting)
            made = make_trainer(folder, setting, precision, model, lengths, arguments={"epochs": EPOCHS}, alpha=alpha)
        made.remove_callback(PrinterCallback)
        clock = Epochs()
        made.add_callback(clock)
        made.train()
        work = flops(made.model, np.asarray(lengths), 2 if alpha else 1, first_token=not arm.startswith("stock"))
        peak = peak_memory(setting.torch_device)
    seconds = statistics.median(clock.seconds[1:])
    del made
    gc.collect()
    return {
        "examples_per_second": len(lengths) / seconds,
        "seconds_per_step": seconds / -(-len(lengths) // BATCH),
        "model_flops_per_second": work / seconds,
        "share_of_products": work / seconds / product,
        "peak_memory_bytes": peak,
    }


def speed(setting: Setting) -> dict[str, Any]:
    """Plain fine-tuning and R-Drop of the stock Trainer and of rdrop, at full length and at IMDb's lengths."""
    size = 512 if setting.tiny else None
    product = machine.product_flops(torch.bfloat16, size, seconds=0.3 if setting.tiny else 1.0)
    count = 2 * BATCH if setting.tiny else 24 * BATCH
    data = {f"{setting.max_length} tokens": [setting.max_length] * count, "IMDb's": imdb_lengths(count, setting)}
    rows = []
    for named, lengths in data.items():
        for precision in setting.precisions:
            for arm in ("stock plain", "rdrop plain", "stock R-Drop", "rdrop R-Drop"):
                row = time_arm(arm, setting, precision, lengths, product)
                rows.append({"lengths": named, "precision": precision, "arm": arm, **row})
    lengths = np.asarray(data["IMDb's"])
    return {
        "batch_size": BATCH,
        "examples": count,
        "imdb_mean_length": float(lengths.mean()),
        "bfloat16_product_flops": product,
        "product_size": size or (8192 if setting.device == "cuda" else 2048),
        "rows": rows,
        "outcome": f"bfloat16 products {product / 1e12:,.2f} TFLOP/s; {len(rows)} timings",
    }


class ProfileSteps(TrainerCallback):
    """Profiles the steps after the third."""

    def __init__(self, on_gpu: bool) -> None:
        activities = [torch.profiler.ProfilerActivity.CPU]
        activities += [torch.profiler.ProfilerActivity.CUDA] * on_gpu
        self.profiler = torch.profiler.profile(activities=activities)
        self.steps = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 3:
            machine.synchronize()
            self.began = time.perf_counter()
            self.profiler.start()
        self.steps = state.global_step - 3

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        machine.synchronize()
        self.seconds = time.perf_counter() - self.began
        self.profiler.stop()


def profile(setting: Setting) -> dict[str, Any]:
    """The ten operations that take most of R-Drop steps at IMDb's lengths in bfloat16, on the device's clock."""
    on_gpu = setting.device == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(folder, setting, "bfloat16", build_model(setting), imdb_lengths(16 * BATCH, setting))
        profiler = ProfileSteps(on_gpu)
        trainer.add_callback(profiler)
        trainer.train()
    key = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    # Kernels are listed beside the operations that started them: counted once, under the operation's name.
    listed = [event for event in profiler.profiler.key_averages() if event.device_type == DeviceType.CPU]
    events = sorted(listed, key=lambda event: -getattr(event, key))
    total = sum(getattr(event, key) for event in events)
    operations = [
        {
            "name": event.key[:80],
            "milliseconds": getattr(event, key) / 1000 / profiler.steps,
            "share": getattr(event, key) / total,
            "calls": event.count / profiler.steps,
        }
        for event in events[:10]
    ]
    step = profiler.seconds / profiler.steps
    return {
        "steps": profiler.steps,
        "seconds_per_step": step,
        "busy_share": total / 1e6 / profiler.seconds,
        "operations": operations,
        "outcome": f"{step * 1000:.1f} ms a step while profiled",
    }
