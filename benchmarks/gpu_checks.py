"""Parts of the GPU benchmark that see whether training is right and robust there. Each returns what it found.

A check that fails says so under `error`, beside its figures; `outcome` is one line for the table.
"""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from gpu_common import PAD, Setting, build_model, make_arguments, make_dataset, make_trainer
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback

from rdrop_cli.core.model.collator import Collator
from rdrop_cli.core.model.value_reads import ValueReads
from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer

TOLERANCE = {"float32": 2e-3, "bfloat16": 8e-2, "float16": 2e-2}
"""Relative difference from the CPU's float32 that the gradient of a whole step may have."""


class ShiftedSecondPass(nn.Module):
    """A model without dropout whose two passes differ by a known shift, so that the divergence has a gradient."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.config = inner, inner.config

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        logits = self.inner(**inputs).logits
        half = len(logits) // 2
        shift = torch.tensor([0.5, -0.3], device=logits.device)
        return {"logits": torch.cat([logits[:half], logits[half:] * 1.5 + shift])}


class Recorded(RDropTrainer):
    """Keeps the loss and gradient of every step, and what it was made of."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.losses: list[float] = []
        self.gradients: list[Tensor] = []
        self.batches: list[str] = []

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        self.batches.append(hashlib.sha256(inputs["input_ids"].cpu().numpy().tobytes()).hexdigest())
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.losses.append(float(loss))
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)  # a scaler's factor is gone from the gradients now
        self.gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).cpu())
        return norm


def failing(found: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    """The results, with what is wrong about them."""
    return found | ({"error": "; ".join(faults)} if faults else {})


def correctness(setting: Setting) -> dict[str, Any]:
    """Loss and gradient of three steps against transformers' own model on the CPU in float32; dropout is off."""
    lengths = (
        [setting.max_length // 4] * 8 + list(range(4, 20)) if setting.tiny else [128] * 8 + list(range(40, 120, 5))
    )
    settings = {"batch_size": 8, "max_grad_norm": 1e9, "lr": 1e-6}
    with tempfile.TemporaryDirectory() as folder:
        cpu = Setting("cpu", setting.tiny)
        reference = Recorded(
            model=ShiftedSecondPass(build_model(setting, dropout=0.0)),
            args=make_arguments(folder, cpu, "float32", **settings),
            train_dataset=make_dataset(lengths, setting),
            data_collator=Collator(PAD),
            alpha=5.0,
            label_smoothing=0.1,
        )
        reference.remove_callback(PrinterCallback)
        reference.train()
        found: dict[str, Any] = {"loss": reference.losses}
        faults = []
        for precision in ("float32", *setting.precisions):
            model = ShiftedSecondPass(build_model(setting, dropout=0.0))
            trainer = make_trainer(
                folder,
                setting,
                precision,
                model,
                lengths,
                kind=Recorded,
                arguments=settings,  # type: ignore[arg-type]
            )
            if precision == "float16":
                trainer.accelerator.scaler._init_scale = 2.0**14  # so that no step is skipped here
            trainer.train()
            pairs = list(zip(trainer.gradients, reference.gradients, strict=True))
            worst = max(float((mine - theirs).norm() / theirs.norm()) for mine, theirs in pairs)
            losses = zip(trainer.losses, reference.losses, strict=True)
            loss = max(abs(mine - theirs) / theirs for mine, theirs in losses)
            found[precision] = {"gradient_relative_difference": worst, "loss_relative_difference": loss}
            if not (worst < TOLERANCE[precision] and loss < TOLERANCE[precision]):
                faults.append(f"{precision} differs by {worst:.1e} (gradient), {loss:.1e} (loss)")
    shown = ", ".join(
        f"{name} {found[name]['gradient_relative_difference']:.1e}" for name in TOLERANCE if name in found
    )
    return failing(found | {"outcome": f"gradients differ from the CPU's in float32 by {shown}"}, faults)


class CountSteps(TrainerCallback):
    """Counts what makes Python wait for the device, from the end of the third step to the end of the fifth."""

    def __init__(self, device: str) -> None:
        self.on_gpu, self.spy = device == "cuda", ValueReads()
        self.catcher = warnings.catch_warnings(record=True)
        self.waits: list[str] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 3:
            self.caught = self.catcher.__enter__()
            warnings.simplefilter("always")
            if self.on_gpu:
                torch.cuda.set_sync_debug_mode("warn")
            self.spy.__enter__()
        elif state.global_step == 5:
            self.spy.__exit__(None, None, None)
            if self.on_gpu:
                torch.cuda.set_sync_debug_mode("default")
            # Switching this on warns too, that it is a prototype.
            waits = [w for w in self.caught or [] if "called a synchronizing" in str(w.message)]
            self.waits = [f"{w.filename}:{w.lineno}" for w in waits]
            self.catcher.__exit__(None, None, None)


def value_reads(setting: Setting) -> dict[str, Any]:
    """Value reads in two steps as they are dispatched, and on a GPU what CUDA itself reports as waiting."""
    lengths = list(range(5, 5 + 24)) if setting.tiny else list(range(60, 252, 8))
    found: dict[str, Any] = {}
    faults = []
    arms = {"concat": {}, "sequential": {"passes": "sequential"}, "alpha 0": {"alpha": 0.0}}
    for arm, options in arms.items():
        with tempfile.TemporaryDirectory() as folder:
            trainer = make_trainer(
                folder, setting, "bfloat16", build_model(setting), lengths, arguments={"batch_size": 4}, **options
            )
            counter = CountSteps(setting.device)
            trainer.add_callback(counter)
            trainer.train()
        found[arm] = {
            "operations_per_step": counter.spy.operations.total() / 2,
            "value_reads": counter.spy.reads,
            "waits": counter.waits,
        }
        if counter.spy.reads or counter.waits:
            faults.append(f"{arm}: {counter.spy.reads or ''} {counter.waits[:3] or ''}".strip())
    operations = {arm: f"{row['operations_per_step']:,.0f}" for arm, row in found.items()}
    return failing(found | {"outcome": f"no value read; operations a step: {operations}"}, faults)


def float16(setting: Setting) -> dict[str, Any]:
    """A step that overflows is skipped, and the schedule knows it.

    On a GPU a training whose scaler begins far too high; on a CPU the optimizer and scaler alone, with a gradient that
    is infinite, as there is no float16 training there.
    """
    if setting.device == "cpu":
        from accelerate import Accelerator
        from accelerate.optimizer import AcceleratedOptimizer

        with tempfile.TemporaryDirectory() as folder:
            cls, kwargs = Trainer.get_optimizer_cls_and_kwargs(make_arguments(folder, setting, "float16"))
        Accelerator(cpu=True)
        weight = nn.Parameter(torch.ones(3))
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        optimizer = AcceleratedOptimizer(cls([weight], **kwargs), scaler=scaler)
        scaler.scale(weight.sum() * float("inf")).backward()
        optimizer.step()
        seen, kept = bool(optimizer.step_was_skipped), bool((weight == 1).all())
        found: dict[str, Any] = {"mechanism_only": True, "skip_seen": seen, "weights_kept": kept}
        return failing(
            found | {"outcome": "the mechanism, on a CPU: a skipped step is seen"},
            [] if seen and kept else ["a skipped step was not seen"],
        )
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            folder, setting, "float16", build_model(setting), [64] * 160, arguments={"batch_size": 8}
        )
        trainer.accelerator.scaler._init_scale = 2.0**30
        trainer.train()
    scheduled = (
        trainer.lr_scheduler.scheduler.last_epoch
        if hasattr(trainer.lr_scheduler, "scheduler")
        else (trainer.lr_scheduler.last_epoch)
    )
    steps = trainer.state.global_step
    finite = all(bool(p.isfinite().all()) for p in trainer.model.parameters())
    found = {"steps": steps, "scheduled_steps": scheduled, "scale": trainer.accelerator.scaler.get_scale()}
    faults = [] if 0 < scheduled < steps and finite else ["no skipped step was seen, or the weights are not finite"]
    outcome = f"{steps - scheduled} of {steps} steps skipped, and the schedule waited for them"
    return failing(found | {"outcome": outcome}, faults)


class SmallMemory(nn.Module):
    """A model that pretends to have no room for more than some rows."""

    def __init__(self, inner: Any, rows: int) -> None:
        super().__init__()
        self.inner, self.config, self.rows = inner, inner.config, rows

    def forward(self, **inputs: Tensor) -> Any:
        outputs = self.inner(**inputs)
        if len(inputs["input_ids"]) > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return outputs


def micro_batch(setting: Setting) -> dict[str, Any]:
    """`auto` halves the batch when memory runs out: on a GPU really, within a share of its memory; else simulated."""
    on_gpu = setting.device == "cuda"
    batch = 128 if on_gpu and not setting.tiny else 16
    sizes: list[tuple[int, int]] = []
    inner = build_model(setting)
    model = inner if on_gpu else SmallMemory(inner, rows=8)
    total = torch.cuda.get_device_properties(0).total_memory if on_gpu else 0
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            folder, setting, "bfloat16", model, [setting.max_length] * (batch * 4), kind=Recorded,
            arguments={"batch_size": batch, "micro_batch_size": "auto"}, auto_micro_batch=True,
            on_micro_batch=lambda size: sizes.append((trainer.state.global_step, size)),
        )  # fmt: skip
        if on_gpu:
            # 12 GiB hold the model with its moments, and the activations of a few doubled examples of 512 tokens.
            torch.cuda.set_per_process_memory_fraction(min(1.0, 12 * 2**30 / total))
        trainer.train()
    finite = all(loss == loss and abs(loss) < 100 for loss in trainer.losses)
    found: dict[str, Any] = {
        "simulated": not on_gpu,
        "batch": batch,
        "sizes": [size for _, size in sizes],
        "steps": trainer.state.global_step,
    }
    if on_gpu:
        found["peak_memory_bytes"] = torch.cuda.max_memory_reserved()
        # What fits at the first step, where the longest batch is, has room for the optimizer's moments too.
        found["halved_after_first_step"] = sum(step > 0 for step, _ in sizes)
    faults = (
        [] if sizes and finite and trainer.state.global_step == 4 else ["memory did not run out, or it did not go on"]
    )
    how = "out of memory" if on_gpu else "simulated shortage of memory"
    return failing(
        found | {"outcome": f"{how}: {batch} -> {' -> '.join(str(size) for _, size in sizes)} examples"}, faults
    )


def resume(setting: Setting) -> dict[str, Any]:
    """A training stopped in the middle of an epoch and resumed against one that was not stopped."""
    lengths = list(range(5, 5 + 24)) if setting.tiny else list(range(60, 252, 8))
    runs: dict[str, Recorded] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("whole", "resumed"):
            trainer = make_trainer(
                folder, setting, "bfloat16", build_model(setting), lengths, kind=Recorded,
                arguments={"batch_size": 4, "epochs": 2, "keep_checkpoints": 4},
            )  # fmt: skip
            trainer.args.save_strategy, trainer.args.save_steps = ("steps", 4) if name == "whole" else ("no", 0)
            trainer.state.save_steps = trainer.args.save_steps
            torch.manual_seed(7)
            checkpoint = Path(folder) / "checkpoints" / "checkpoint-4"
            trainer.train(resume_from_checkpoint=str(checkpoint) if name == "resumed" else None)
            runs[name] = trainer
    whole, resumed = runs["whole"], runs["resumed"]
    same_order = whole.batches[4:] == resumed.batches
    weights = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    difference = max(float((mine - theirs).abs().max()) for mine, theirs in weights)
    found = {
        "steps": resumed.state.global_step,
        "same_batches": same_order,
        "largest_weight_difference": difference,
        "bit_exact": difference == 0,
    }
    faults = (
        [] if same_order and whole.state.global_step == resumed.state.global_step else ["another order after resuming"]
    )
    if setting.device == "cpu" and difference:
        faults.append(f"weights differ by {difference:.1e}")
    return failing(found | {"outcome": f"the same batches; weights differ by at most {difference:.1e}"}, faults)
