"""Choose a checkpoint's backend and load it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rdrop_cli import processes
from rdrop_cli.core.inference.classifier import Classifier
from rdrop_cli.core.runs import onnx_export
from rdrop_cli.core.runs.checkpoint import Checkpoint, verify_checkpoint
from rdrop_cli.errors import CheckpointError, ConfigError, ModelError

if TYPE_CHECKING:
    from rdrop_cli.core.inference.backends.base import Backend
    from rdrop_cli.core.progress import Progress
    from rdrop_cli.core.runs.onnx_export import OnnxExport
    from rdrop_cli.schema import BackendName, Precision

GPU_DRIVER = Path("/dev/nvidiactl")
"""Exists on Linux where NVIDIA's driver is in use, so that a GPU can be expected without loading PyTorch."""


def open_classifier(
    checkpoint: Checkpoint,
    *,
    backend: BackendName | Literal["auto"] = "torch",
    many_texts: bool = True,
    precision: Precision | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    trust_remote_code: bool = False,
    notice: Callable[[str], None] = lambda message: None,
    memory_hint: str = "Use a smaller --batch-size.",
    set_threads: bool = False,
    on_progress: Progress | None = None,
) -> Classifier:
    """Load a checkpoint with a backend.

    Args:
        checkpoint: The result of `find_checkpoint`; if that did not verify it, it is verified before PyTorch loads it.
        backend: `auto`: the checkpoint's ONNX export if it has a usable one, and if nothing that only PyTorch does is
            wanted. For many texts it must also have been faster than PyTorch when it was exported, and there must be no
            GPU.
        many_texts: There are so many texts that the time to load the backend does not matter.
        precision: Of the matrix products; None: that of the training if the device supports it, else `auto`.
        device: auto, cpu, cuda, cuda:N or mps.
        batch_size: Texts per forward pass; None: as in the evaluations of the checkpoint's training.
        trust_remote_code: Run Python code that comes with the checkpoint.
        notice: Called with one sentence for each limitation of this model or device.
        memory_hint: The hint of an out-of-memory error.
        set_threads: Set PyTorch's number of threads to the requested one, or limit it to the available cores.
        on_progress: Called while a checkpoint is downloaded: stage, done, total.

    Raises:
        CheckpointError: the checkpoint is not a text classifier, is damaged, or has no usable export.
        ModelError: it cannot be loaded, or fails on this device.
        ConfigError: there is no such device, or ONNX Runtime does not take the precision or device.
    """

    def load_onnx(*, quantized: bool = False) -> Backend:
        return _load_onnx(checkpoint, quantized, memory_hint)

    loaded: Backend | None = None
    if backend in ("onnx", "onnx-int8"):
        _check_settings(precision, device)
        loaded = load_onnx(quantized=backend == "onnx-int8")
    elif backend == "auto" and precision is None and device in ("auto", "cpu") and processes.world_size() == 1:
        try:
            if _is_preferred(checkpoint, device, many_texts):
                loaded = load_onnx()
        except (CheckpointError, ModelError) as error:
            notice(f"{error}{'' if error.hint else '.'} PyTorch is used instead")
    if loaded is None:
        verify_checkpoint(checkpoint)
        from rdrop_cli.core.inference.backends.torch import TorchBackend
        from rdrop_cli.core.model import torch_threads

        if set_threads:
            torch_threads.limit()
        loaded = TorchBackend(
            checkpoint,
            precision=precision,
            device=device,
            trust_remote_code=trust_remote_code,
            notice=notice,
            memory_hint=memory_hint,
            on_progress=on_progress,
        )
    return Classifier(loaded, batch_size=batch_size)


def _is_preferred(checkpoint: Checkpoint, device: str, many_texts: bool) -> bool:
    """Whether `auto` means the ONNX export.

    Raises:
        CheckpointError: the export's manifest is missing or damaged.
    """
    if not onnx_export.is_exported(Path(checkpoint.name)):
        return False
    if not many_texts or not onnx_export.weights_of(Path(checkpoint.name)):
        return True
    if device == "auto" and (GPU_DRIVER.exists() or (platform.system(), platform.machine()) == ("Darwin", "arm64")):
        return False
    return bool(_read(checkpoint).check["faster"] == "onnx")


def _load_onnx(checkpoint: Checkpoint, quantized: bool, memory_hint: str) -> Backend:
    export = _read(checkpoint)
    file = onnx_export.INT8 if quantized else onnx_export.FLOAT32
    try:
        onnx_export.check_export(export, file)
    except CheckpointError as error:
        command = onnx_export.export_command(checkpoint, int8=quantized)
        raise CheckpointError(error.message, f"Export it again with: {command}.") from error
    from rdrop_cli.core.inference.backends.onnx import OnnxBackend

    return OnnxBackend(export, quantized=quantized, max_length=checkpoint.max_length, memory_hint=memory_hint)


def _read(checkpoint: Checkpoint) -> OnnxExport:
    folder = Path(checkpoint.name, onnx_export.FOLDER)
    command = onnx_export.export_command(checkpoint)
    if not folder.is_dir():
        raise CheckpointError(f"{checkpoint.name}: has no ONNX export", f"Make it with: {command}.")
    try:
        return onnx_export.read_export(folder)
    except CheckpointError as error:
        raise CheckpointError(error.message, f"Export it again with: {command}.") from error


def _check_settings(precision: Precision | None, device: str) -> None:
    """Refuse what only PyTorch does.

    Raises:
        ConfigError: a precision or a GPU is wanted, or there are several processes.
    """
    torch_only = "which only --backend torch can do"
    if precision is not None:
        raise ConfigError(
            f"--precision {precision}: an ONNX model has the precision of its export",
            "Omit --precision, choose onnx or onnx-int8, or use --backend torch.",
        )
    if device not in ("auto", "cpu"):
        raise ConfigError(f"--device {device}: ONNX models run on the CPU here", "Use --backend torch for a GPU.")
    if processes.world_size() > 1:
        raise ConfigError(f"several processes share the work, {torch_only}", "Start one process.")
