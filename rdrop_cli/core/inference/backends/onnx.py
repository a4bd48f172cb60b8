"""Run a checkpoint's ONNX export with ONNX Runtime on the CPU; PyTorch and Transformers are not loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rdrop_cli import threads
from rdrop_cli.core.data.labels import LabelMap
from rdrop_cli.core.data.padding import Padding
from rdrop_cli.core.data.tokens import encode
from rdrop_cli.core.inference.backends.json_tokenizer import JsonTokenizer
from rdrop_cli.core.runs import layout, onnx_export
from rdrop_cli.errors import CheckpointError, ModelError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.data.tokens import Tokens
    from rdrop_cli.core.runs.onnx_export import OnnxExport

LOGITS = "logits"
"""The graph's output."""
_ERRORS_ONLY = 3


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
        expected = export.text_input
        self.name: Literal["onnx", "onnx-int8"] = "onnx-int8" if quantized else "onnx"
        self.precision = "int8" if quantized else "float32"
        self.labels = _labels(export)
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

    def encode(
        self, texts: Sequence[str], pairs: Sequence[str] | None, on_progress: Callable[[int], None] | None = None
    ) -> Tokens:
        """Token ids of texts or pairs, as `Backend.encode`."""
        return encode(
            self.tokenizer, texts, pairs, max_length=self.max_length, count_all=False, on_progress=on_progress
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """A context for calls of `logits`, as `Backend.running`."""
        from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

        try:
            yield
        except (MemoryError, RuntimeException) as error:
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
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads.chosen() or threads.share()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no class in common
        raise ModelError(f"{path}: ONNX Runtime cannot load it ({one_line(error)})") from error


def _labels(export: OnnxExport) -> LabelMap:
    """The names in config.json, which users may edit, as Transformers reads them."""
    names = layout.read_json(export.folder.parent / "config.json").get("id2label")
    if not isinstance(names, dict):
        return LabelMap(export.labels)  # Transformers' own names, which it does not save
    expected = [str(index) for index in range(len(export.labels))]
    if sorted(names) != sorted(expected):
        raise CheckpointError(
            f"{export.folder.parent / 'config.json'}: id2label does not name the {len(expected)} classes"
        )
    return LabelMap(tuple(str(names[index]) for index in expected))
