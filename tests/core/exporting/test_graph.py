"""What the exporter writes, where weights are too large for one file."""

import numpy as np
import pytest

from rdrop_cli.core.exporting import graph
from rdrop_cli.core.inference.backends.onnx import OnnxBackend
from rdrop_cli.core.inference.backends.torch import TorchBackend
from rdrop_cli.core.inference.classifier import Classifier
from rdrop_cli.core.runs import onnx_export
from rdrop_cli.core.runs.checkpoint import newest_finished
from rdrop_cli.errors import CheckpointError
from training_runs import harm


def test_large_weights_are_in_a_second_file_that_is_checked(exported, monkeypatch):
    monkeypatch.setattr(graph, "_MOST_BYTES", 0)
    checkpoint = newest_finished()
    backend = TorchBackend(checkpoint, precision="float32", device="cpu")
    folder = checkpoint.run / "best" / "onnx"
    before = onnx_export.read_export(folder)
    for path in folder.glob("*.onnx"):
        path.unlink()
    graph.write_float32(backend, before.text_input.names, folder / "model.onnx")
    graph.write_int8(folder / "model.onnx", folder / "model_quantized.onnx")
    (folder / "manifest.json").write_text(before.manifest())

    files = ["model.onnx", "model_quantized.onnx"]
    assert sorted(path.name for path in folder.glob("*.data")) == [f"{name}.data" for name in files]
    after = onnx_export.read_export(folder)
    expected = Classifier(backend)
    texts = ["a great movie", "the plot was dull and it seemed"]
    for quantized, tolerance in ((False, 1e-5), (True, 0.1)):
        onnx_export.check_export(after, files[quantized])
        found = Classifier(OnnxBackend(after, quantized=quantized))
        difference = found.probabilities(found.encode(texts)) - expected.probabilities(expected.encode(texts))
        assert np.abs(difference).max() < tolerance
    harm(folder / "model.onnx.data")
    with pytest.raises(CheckpointError, match=r"model.onnx.data has changed since it was written"):
        onnx_export.check_export(after, "model.onnx")
    onnx_export.check_export(after, "model_quantized.onnx")
