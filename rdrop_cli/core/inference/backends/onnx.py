"""Run a checkpoint's ONNX export with ONNX Runtime on the CPU; PyTorch and Transformers are not loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rdrop_cli import threads
from rdrop_cli.core.data.padding import Padding
from rdrop_cli.core.inference.backends.base import check_kind, label_map
from rdrop_cli.core.inference.backends.json_tokenizer import JsonTokenizer
from rdrop_cli.core.runs import layout, onnx_export
from rdrop_cli.errors import ModelError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.runs.onnx_export import OnnxExport

LOGITS = "logits"
"""The graph's output."""
_FATAL_ONLY = 4
"""Severity of what ONNX Runtime may write to stderr: its errors are raised as well."""


class OnnxBackend:
    """An exported model with its tokenizer and class names.

    Args:
        export: The result of `read_export`; `check_export` has passed.
        quantized: Run the 8-bit model.
        max_length: Longest input in tokens; None: that of the export.
        memory_hint: The hint of an out-of-memory error.

    Raises:
        CheckpointError: the tokenizer, the configuration or the model cannot be read.
        ModelError: ONNX Runtime is not installed, or cannot load the model.
    """

    def __init__(
        self,
        export: OnnxExport,
        *,
        quantized: bool = False,
        max_length: int | None = None,
        memory_hint: str = "Use a smaller --batch-size.",
    ) -> None:
        path = export.folder.parent / "config.json"
        config = layout.read_json(path)
        names = config.get("id2label")
        if names is None:
            names = {index: f"LABEL_{index}" for index in range(len(export.labels))}  # as in Transformers
        classes = len(names if isinstance(names, dict) else export.labels)
        check_kind(export.folder.parent, config.get("architectures"), config.get("problem_type"), classes)
        expected = export.text_input
        self.name: Literal["onnx", "onnx-int8"] = "onnx-int8" if quantized else "onnx"
        self.precision = "int8" if quantized else "float32"
        self.labels = label_map(path, names, len(export.labels))
        self.max_length = max_length or expected.max_length
        self.batch_size = expected.batch_size
        self.by_exact_length = expected.exact_length
        self.memory_hint = memory_hint
        self.tokenizer = JsonTokenizer(export.tokenizer, expected.truncation_side)
        self._padding = Padding(expected.pad_id, expected.pad_type_id, expected.padding_side == "left")
        self._names = expected.names
        self._path = export.folder / (onnx_export.INT8 if quantized else onnx_export.FLOAT32)
        self._session = _session(self._path)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_session"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _session=_session(state["_path"]))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """A context for calls of `logits`, as `Backend.running`."""
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

        try:
            yield
        except (MemoryError, Fail, InvalidArgument, RuntimeException) as error:
            if isinstance(error, MemoryError) or "alloc" in str(error).lower():
                raise ModelError("out of memory on the CPU", self.memory_hint) from error
            raise ModelError(
                f"{self._path}: ONNX Runtime failed ({one_line(error)})", "Use --backend torch."
            ) from error

    def logits(self, features: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
        """The logits of one batch, as `Backend.logits`."""
        batch = self._padding.batch(features)
        if "token_type_ids" in self._names and "token_type_ids" not in batch:  # `encode` omits them if all are 0
            batch["token_type_ids"] = np.zeros_like(batch["input_ids"])
        (logits,) = self._session.run([LOGITS], {name: batch[name] for name in self._names})
        return np.asarray(logits, dtype=np.float32)


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"onnxruntime cannot be imported ({one_line(error)})", "Install it: pip install 'rdrop-cli[onnx]'."
        ) from error

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = threads.requested_threads() or threads.cores_per_process()
    # Waiting threads sleep, as PyTorch's do here: on a busy machine batches took 0.9 times as long, single texts 0.6.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no class in common
        raise ModelError(
            f"{path}: ONNX Runtime cannot load it ({one_line(error)})", "Update it: pip install -U onnxruntime."
        ) from error
