"""Translate rdrop's configuration into transformers' TrainingArguments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import TrainingArguments

from rdrop_cli import processes
from rdrop_cli.core.metrics.classification import LOWER_IS_BETTER
from rdrop_cli.core.runs import layout

if TYPE_CHECKING:
    from rdrop_cli.core.model.device import Dtype
    from rdrop_cli.schema import Config


def training_arguments(
    config: Config, run: Path, device: torch.device, precision: Dtype, *, unused_parameters: bool = False
) -> TrainingArguments:
    """The Trainer's arguments, without those for loss, label smoothing and batches by length: rdrop does these itself.

    Args:
        run: The run folder; checkpoints are saved below it.
        unused_parameters: The loss does not depend on some parameters, which data parallelism must know.
    """
    train = config.train
    share = train.batch_size // processes.world_size()
    # With `auto` the trainer divides the batch itself, once memory has run out.
    micro = min(train.micro_batch_size, share) if isinstance(train.micro_batch_size, int) else share
    arguments = TrainingArguments(
        output_dir=str(run / layout.CHECKPOINTS),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=share // micro,
        per_device_eval_batch_size=train.eval_batch_size,
        num_train_epochs=train.epochs,
        learning_rate=train.lr,
        weight_decay=train.weight_decay,
        warmup_steps=train.warmup,
        lr_scheduler_type="constant_with_warmup" if train.schedule == "constant" else train.schedule,
        max_grad_norm=train.max_grad_norm,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=train.keep_checkpoints,
        metric_for_best_model=train.metric,
        greater_is_better=train.metric not in LOWER_IS_BETTER,
        logging_steps=train.log_steps,
        logging_nan_inf_filter=False,
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        use_cpu=device.type == "cpu",
        activation_checkpointing=train.gradient_checkpointing,
        dataloader_num_workers=train.num_workers,
        dataloader_pin_memory=device.type == "cuda",
        # Copies from pinned memory need not wait for the device; persistent workers need not import modules again.
        accelerator_config={"non_blocking": device.type == "cuda"},
        dataloader_persistent_workers=device.type == "cuda" and train.num_workers > 0,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=["tensorboard"] if "tensorboard" in train.report_to else "none",
        restore_callback_states_from_checkpoint=True,
        disable_tqdm=True,
        log_level_replica="error",
        ddp_find_unused_parameters=unused_parameters,
        ddp_broadcast_buffers=False,  # such as position ids: equal in all processes and never changed
        # With a fused optimizer, accelerate does not notice a step that the loss scaler skipped, and would still
        # advance the learning-rate schedule.
        optim="adamw_torch" if precision == "float16" else "adamw_torch_fused",
        seed=train.seed,
        data_seed=train.seed,
    )
    if arguments.n_gpu > 1:
        # One process uses one GPU: DataParallel over all GPUs would multiply the batch size unnoticed.
        arguments._n_gpu = 1
    if device.index and device != arguments.device:
        # transformers always chooses the first GPU and makes it the current one.
        arguments.__dict__["_setup_devices"] = device
        torch.cuda.set_device(device)
    return arguments
