"""Run a checkpoint with PyTorch, on any device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from rdrop_cli import processes
from rdrop_cli.core.inference.backends.base import DEFAULT_BATCH_SIZE, check_kind, label_map
from rdrop_cli.core.model import device as devices
from rdrop_cli.core.model import probes, trial
from rdrop_cli.core.model.attention import register_attention
from rdrop_cli.core.model.collator import make_collator
from rdrop_cli.core.model.exact_length import PADDING_MATTERS
from rdrop_cli.core.model.fast_path import accelerate_inference
from rdrop_cli.core.model.head import keep_head_in_float32
from rdrop_cli.core.model.loading import map_loading_errors, quiet_transformers
from rdrop_cli.core.model.locate import fetch_model
from rdrop_cli.core.model.tokenizer import check_token_ids, load_tokenizer
from rdrop_cli.core.progress import Notice, Progress, no_notice, no_progress
from rdrop_cli.core.runs.layout import CARD
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rdrop_cli.core.runs.checkpoint import Checkpoint
    from rdrop_cli.schema import Precision

DEFAULT_MAX_LENGTH = 512
_LONGEST_BY_DEFAULT = 8192


class TorchBackend:
    """A fine-tuned model with its tokenizer and class names, ready on a device.

    Args:
        checkpoint: The result of `find_checkpoint`.
        precision: Of the matrix products; None: that of the training if the device supports it, else `auto`.
        device: As in `devices.pick_device`.
        trust_remote_code: Run Python code that comes with the checkpoint.
        notice: Called with one sentence for each limitation of this model or device.
        memory_hint: The hint of an out-of-memory error.
        on_progress: Called while a checkpoint is downloaded: stage, done, total.

    Raises:
        CheckpointError: the checkpoint is not a text classifier.
        ModelError: it cannot be loaded, or fails on this device.
        ConfigError: there is no such device.
    """

    name: Literal["torch"] = "torch"

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        precision: Precision | None = None,
        device: str = "auto",
        trust_remote_code: bool = False,
        notice: Notice = no_notice,
        memory_hint: str = "Use a smaller --batch-size.",
        on_progress: Progress = no_progress,
    ) -> None:
        quiet_transformers()
        from transformers import AutoConfig, AutoModelForSequenceClassification

        processes.join()
        self.device = devices.pick_device(device)
        with processes.main_process_first():
            name = fetch_model(checkpoint.name, None, on_progress)
        with map_loading_errors(name, "checkpoint"):
            config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
        kind = getattr(config, "problem_type", None)
        check_kind(name, getattr(config, "architectures", None), kind, config.num_labels)
        self.precision = self._pick_precision(precision, checkpoint)
        with map_loading_errors(name, "checkpoint"):
            self.model = AutoModelForSequenceClassification.from_pretrained(
                name, dtype=torch.float32, use_safetensors=True, trust_remote_code=trust_remote_code
            )
        self.labels = label_map(f"{name}/config.json", config.id2label, config.num_labels)
        self.tokenizer = load_tokenizer(name, max_length=checkpoint.max_length, trust_remote_code=trust_remote_code)
        self.collate = make_collator(self.tokenizer, self.model)
        self.max_length = self.tokenizer.model_max_length = self._max_length(checkpoint)
        self._settle(notice)
        self.memory_hint = memory_hint
        self.batch_size = checkpoint.batch_size or DEFAULT_BATCH_SIZE

    def _pick_precision(self, wanted: Precision | None, checkpoint: Checkpoint) -> devices.Dtype:
        if wanted is not None:
            return devices.pick_precision(wanted, self.device)
        trained = checkpoint.card.get("precision")
        if trained in ("float32", "bfloat16", "float16") and devices.supports(trained, self.device):
            return cast("devices.Dtype", trained)
        return devices.pick_precision("auto", self.device)

    def _max_length(self, checkpoint: Checkpoint) -> int:
        """The recorded one; if there is none, the tokenizer's limit, or the number of positions if that is smaller."""
        recorded, positions = checkpoint.max_length, trial.configured_positions(self.model.config)
        if recorded is None:
            limit = int(self.tokenizer.model_max_length)
            return self._usable_length(min(limit, positions or DEFAULT_MAX_LENGTH, _LONGEST_BY_DEFAULT))
        if positions is not None and (usable := self._usable_length(min(recorded, positions))) < recorded:
            raise CheckpointError(
                f"{Path(checkpoint.name) / CARD}: max_length {recorded} exceeds the model's {usable} positions"
            )
        return recorded

    def _usable_length(self, upper: int) -> int:
        usable = probes.usable_length(self.model, self.tokenizer, self.collate, upper)
        return usable or upper  # a model that accepts no input fails in the trial, with the reason

    def _settle(self, notice: Callable[[str], None]) -> None:
        """Move the model to its device, with the kernels and the precision that work there."""
        model = self.model.eval()
        with (
            map_loading_errors(model.name_or_path, "checkpoint"),
            devices.map_memory_errors(self.device, "Use --device cpu."),
        ):
            accelerate_inference(model)
            short = probes.made_up(self.tokenizer, model, [probes.SHORT, probes.LONG])
            keep_head_in_float32(model, probes.batch_of(short, self.collate))
            self.by_exact_length = probes.depends_on_padding(model, self.tokenizer, self.collate)
            model.to(self.device)
            settled = trial.settle_inference(model, self.tokenizer, self.collate, self.device, self.precision, notice)
            self.collate = make_collator(self.tokenizer, model)  # again: it depends on the kernels that were chosen
        self.precision = settled.precision
        if self.by_exact_length:
            notice(PADDING_MATTERS)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        register_attention()  # the process that unpickles it may not have loaded a model

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """A context for calls of `logits`, as `Backend.running`."""
        with (
            torch.inference_mode(),
            devices.autocast(self.device, self.precision),
            devices.map_memory_errors(self.device, self.memory_hint),
        ):
            yield

    def logits(self, features: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
        """The logits of one batch, as `Backend.logits`."""
        on_cpu = self.collate(features)
        check_token_ids(int(on_cpu["input_ids"].max()), self.model, self.model.name_or_path)
        batch = {name: value.to(self.device) for name, value in on_cpu.items()}
        logits: NDArray[np.float32] = self.model(**batch).logits.float().cpu().numpy()
        return logits
