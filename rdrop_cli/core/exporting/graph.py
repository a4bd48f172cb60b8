"""Write a model's ONNX files: the float32 graph, and from that one with 8-bit weights and matrix products."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from rdrop_cli.core.inference.backends.onnx import LOGITS
from rdrop_cli.core.model import probes
from rdrop_cli.core.model.loading import map_loading_errors
from rdrop_cli.core.storage import extras
from rdrop_cli.errors import ModelError, one_line

if TYPE_CHECKING:
    from rdrop_cli.core.inference.backends.torch import TorchBackend

_MOST_BYTES = 2 * 10**9
"""Of weights inside the .onnx file, which protobuf limits to 2 GiB; more are written to a second file."""


def input_names(backend: TorchBackend) -> tuple[str, ...]:
    """The inputs that an exported graph takes: those that both the tokenizer gives and the model accepts.

    Raises:
        ModelError: the model treats segments that are all 0 differently from none, so that the graph, which always
            takes segments, would not do what the model does.
    """
    accepted = inspect.signature(backend.model.forward).parameters
    known = ("input_ids", "token_type_ids", "attention_mask")
    names = tuple(name for name in known if name in backend.tokenizer.model_input_names and name in accepted)
    if "token_type_ids" in names:
        batch = _sample_batch(backend, ("input_ids", "attention_mask"))
        with torch.inference_mode():
            without = backend.model(**batch).logits
            zeros = backend.model(**batch, token_type_ids=torch.zeros_like(batch["input_ids"])).logits
        if not torch.allclose(without, zeros, atol=1e-5):
            raise ModelError("segment ids of 0 change this model's logits, so it cannot be exported to ONNX")
    return names


def _sample_batch(backend: TorchBackend, names: tuple[str, ...]) -> dict[str, Tensor]:
    """A batch to trace with: two rows of different lengths, since a dimension of 1 would be taken as fixed."""
    segments = "token_type_ids" in names
    rows = probes.made_up(backend.tokenizer, backend.model, [probes.LONG, probes.SHORT], segments=segments)
    batch = backend.collate.batch([rows[0], rows[1]])
    return {name: torch.from_numpy(batch[name]) for name in names}


def write_float32(
    backend: TorchBackend, names: tuple[str, ...], path: Path, *, trust_remote_code: bool = False
) -> None:
    """Export a checkpoint's weights in float32 from a model loaded with the stock kernels.

    Args:
        backend: The checkpoint's, on the CPU and in float32.
        path: The .onnx file to write. More than 2 GB of weights go to a second file, PATH.data.
        trust_remote_code: Run Python code that comes with the model.

    Raises:
        ModelError: an ONNX package is missing, or the exporter cannot handle the model.
    """
    with map_export_errors("exported to ONNX"), quiet():
        import onnx_ir
        from onnx_ir.passes.common import ClearMetadataAndDocStringPass
        from transformers.exporters import OnnxConfig, OnnxExporter

        name = backend.model.name_or_path
        with map_loading_errors(name, "checkpoint"):
            model = AutoModelForSequenceClassification.from_pretrained(
                name, dtype=torch.float32, use_safetensors=True, trust_remote_code=trust_remote_code
            )
        model.config.use_cache = False  # otherwise the states of a decoder are outputs, too
        dimensions = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in names}
        config = OnnxConfig(dynamic=True, dynamic_shapes=dimensions)
        program = OnnxExporter().export(model.eval(), _sample_batch(backend, names), config).program
        ClearMetadataAndDocStringPass()(program)  # it contains stack traces with the paths of this machine
        _check_signature(program.graph, names)
        program.graph.outputs[:] = [value for value in program.graph.outputs if value.name == LOGITS]
        size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
        onnx_ir.save(program, path, external_data=f"{path.name}.data" if size > _MOST_BYTES else None)


def write_int8(float32: Path, path: Path) -> None:
    """Quantize an exported model: 8-bit weights, and activations quantized as they come (ONNX Runtime's "dynamic").

    Every column of a weight matrix has a scale of its own (`per_channel`); with one scale for the whole matrix, three
    times as many labels change. See https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.

    Args:
        float32: The .onnx file that `write_float32` wrote.
        path: The .onnx file to write.

    Raises:
        ModelError: an ONNX package is missing, or the model cannot be quantized.
    """
    with map_export_errors("quantized"), quiet():
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            # Quantization transposes some weights in place, and then stumbles over the shapes recorded for them.
            model = onnx.load(float32)
            weights = {initializer.name for initializer in model.graph.initializer}
            shapes = [info for info in model.graph.value_info if info.name not in weights]
            del model.graph.value_info[:]
            model.graph.value_info.extend(shapes)
            large = Path(f"{float32}.data").exists()
            onnx.save(model, Path(folder, "model.onnx"), save_as_external_data=large)
            quantize_dynamic(
                Path(folder, "model.onnx"),
                path,
                per_channel=True,
                weight_type=QuantType.QInt8,
                use_external_data_format=large,
            )


def _check_signature(graph: Any, names: tuple[str, ...]) -> None:
    """Raise ValueError if an exported graph has other inputs than asked for, no logits, or fixed dimensions."""
    inputs = {value.name: value.shape for value in graph.inputs}
    outputs = [value.name for value in graph.outputs]
    if set(inputs) != set(names) or LOGITS not in outputs:
        raise ValueError(f"the graph has inputs {sorted(inputs)} and outputs {outputs}")
    for name, shape in inputs.items():
        if any(isinstance(size, int) for size in shape):
            raise ValueError(f"{name} has a fixed shape, {shape}")


@contextlib.contextmanager
def map_export_errors(what: str) -> Iterator[None]:
    """Turn whatever an exporter raises into a ModelError.

    Args:
        what: What is done to the model, for the message.
    """
    try:
        yield
    except (ModelError, MemoryError):
        raise
    except ImportError as error:
        raise ModelError(
            f"the model cannot be {what}: {one_line(error)}", f"Install what is missing: {extras.ONNX.install}."
        ) from error
    except Exception as error:  # the exporter is experimental, and its exceptions have no class in common
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk
        raise ModelError(f"the model cannot be {what} ({type(error).__name__}: {one_line(error)})") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discard what exporters print, log and warn of; whether they succeeded is checked afterwards."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        unread = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(unread), contextlib.redirect_stderr(unread):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
