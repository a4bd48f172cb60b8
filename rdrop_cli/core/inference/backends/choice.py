"""Choose a checkpoint's backend and load it."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rdrop_cli import processes
from rdrop_cli.core.progress import Notice, Progress, no_notice, no_progress
from rdrop_cli.core.runs import onnx_export
from rdrop_cli.core.runs.checkpoint import Checkpoint, verify_checkpoint
from rdrop_cli.core.runs.layout import CARD
from rdrop_cli.core.runs.threshold import read_threshold
from rdrop_cli.errors import CheckpointError, ConfigError, ModelError, StorageError
from rdrop_cli.large_imports import large_imports

if TYPE_CHECKING:
    from rdrop_cli.core.inference.backends.base import Backend, BackendChoice
    from rdrop_cli.core.inference.classifier import Classifier
    from rdrop_cli.core.runs.onnx_export import OnnxExport
    from rdrop_cli.schema import Precision

GPU_DRIVER = Path("/dev/nvidiactl")
"""Exists on Linux where NVIDIA's driver is in use, so that a GPU can be expected without loading PyTorch."""


def open_classifier(
    checkpoint: Checkpoint,
    *,
    backend: BackendChoice = "torch",
    many_texts: bool = True,
    precision: Precision | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    trust_remote_code: bool = False,
    notice: Notice = no_notice,
    memory_hint: str = "Use a smaller --batch-size.",
    set_threads: bool = False,
    on_progress: Progress = no_progress,
) -> Classifier:
    """Load a checkpoint with a backend.

    Args:
        checkpoint: The result of `find_checkpoint`; if that did not verify it, it is verified before PyTorch loads it.
        backend: `auto`: the checkpoint's ONNX export if it has a usable one, and if nothing that only PyTorch does is
            wanted. For many texts it must also have been faster than PyTorch when it was exported, and there must be no
            GPU. A folder without weights has nothing but its export.
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
        CheckpointError: the checkpoint is not a text classifier, is damaged, has no usable export, or records a
            temperature or a threshold that is none.
        ModelError: it cannot be loaded, or fails on this device.
        StorageError: a file of it cannot be read.
        ConfigError: there is no such device, or ONNX Runtime does not take the precision or device.
    """
    calibration = checkpoint.calibration  # before anything is loaded, as it may be invalid
    loaded: Backend | None = None
    if backend in ("onnx", "onnx-int8"):
        _check_settings(precision, device)
        loaded = _load_onnx(checkpoint, memory_hint, quantized=backend == "onnx-int8")
    elif backend == "auto" and precision is None and device in ("auto", "cpu") and processes.world_size() == 1:
        try:
            if _is_preferred(checkpoint, device, many_texts):
                loaded = _load_onnx(checkpoint, memory_hint)
        except (CheckpointError, ModelError, StorageError) as error:
            if not onnx_export.weights_of(Path(checkpoint.name)):
                raise
            notice(f"{error}{'' if error.hint else '.'} PyTorch is used instead")
    if loaded is None:
        verify_checkpoint(checkpoint)
        with large_imports():
            from rdrop_cli.core.inference.backends.torch import TorchBackend
            from rdrop_cli.core.model import torch_threads

            if set_threads:
                torch_threads.apply_thread_limit()
            loaded = TorchBackend(
                checkpoint,
                precision=precision,
                device=device,
                trust_remote_code=trust_remote_code,
                notice=notice,
                memory_hint=memory_hint,
                on_progress=on_progress,
            )
    from rdrop_cli.core.inference.classifier import Classifier  # it needs NumPy

    classifier = Classifier(loaded, batch_size=batch_size or checkpoint.batch_size, calibration=calibration)
    classifier.threshold = read_threshold(checkpoint.card, Path(checkpoint.name) / CARD, loaded.labels.names)
    return classifier


def _is_preferred(checkpoint: Checkpoint, device: str, many_texts: bool) -> bool:
    """Whether `auto` means the ONNX export.

    Raises:
        CheckpointError: the export's manifest is missing or damaged.
    """
    model = Path(checkpoint.name)
    if not onnx_export.is_exported(model):
        return False
    if not many_texts or not onnx_export.weights_of(model):
        return True
    if device == "auto" and (GPU_DRIVER.exists() or (platform.system(), platform.machine()) == ("Darwin", "arm64")):
        return False
    return bool(_read(checkpoint).check["faster"] == "onnx")


def _load_onnx(checkpoint: Checkpoint, memory_hint: str, *, quantized: bool = False) -> Backend:
    """Load an export once it is known to be intact and current.

    Raises:
        CheckpointError: it is not, or there is none.
        ModelError: ONNX Runtime is not installed, or cannot load it.
        StorageError: a file cannot be read.
    """
    export = _read(checkpoint)
    file = onnx_export.INT8 if quantized else onnx_export.FLOAT32
    if not (export.folder / file).is_file():
        raise CheckpointError(f"{export.folder}: has no {file}", _remedy(checkpoint, "Make it", int8=quantized))
    with _with_remedy(checkpoint, int8=quantized):
        onnx_export.check_export(export, file)
    from rdrop_cli.core.inference.backends.onnx import OnnxBackend

    return OnnxBackend(export, quantized=quantized, max_length=checkpoint.max_length, memory_hint=memory_hint)


def _read(checkpoint: Checkpoint) -> OnnxExport:
    model = Path(checkpoint.name)
    if not onnx_export.is_exported(model):
        raise CheckpointError(f"{checkpoint.name}: has no ONNX export", _remedy(checkpoint, "Make it"))
    with _with_remedy(checkpoint):
        return onnx_export.read_export(model / onnx_export.FOLDER)


@contextlib.contextmanager
def _with_remedy(checkpoint: Checkpoint, *, int8: bool = False) -> Iterator[None]:
    """Let an error say how the export is made again."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(error.message, _remedy(checkpoint, "Export it again", int8=int8)) from error


def _remedy(checkpoint: Checkpoint, what: str, *, int8: bool = False) -> str:
    if checkpoint.run is not None:
        return f"{what} with: {onnx_export.export_command(checkpoint, int8=int8)}."
    model = Path(checkpoint.name)
    if onnx_export.is_exported(model) and not onnx_export.weights_of(model):
        return f"{what} from its run with: rdrop export RUN --out FOLDER."
    return "Only runs can be exported; use --backend torch."


def _check_settings(precision: Precision | None, device: str) -> None:
    """Refuse what only PyTorch does.

    Raises:
        ConfigError: a precision or a GPU is wanted, or there are several processes.
    """
    if precision is not None:
        raise ConfigError(
            f"--precision {precision}: an ONNX export has a precision of its own",
            "Omit --precision, or use --backend torch.",
        )
    if device not in ("auto", "cpu"):
        raise ConfigError(
            f"--device {device}: an ONNX export runs on the CPU", "Omit --device, or use --backend torch."
        )
    if processes.world_size() > 1:
        raise ConfigError(
            f"an ONNX export is run by one process, not {processes.world_size()}",
            "Start only one, or use --backend torch.",
        )
