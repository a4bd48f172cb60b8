"""An export is checked before it is kept, and replaces nothing before it is."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from rdrop_cli.core.exporting import check, graph
from rdrop_cli.core.exporting.check import Sample, agreement, require_equal_tokens
from rdrop_cli.core.exporting.export import export_run
from rdrop_cli.core.inference.backends.onnx import OnnxBackend
from rdrop_cli.core.inference.classifier import Classifier
from rdrop_cli.core.runs import onnx_export
from rdrop_cli.core.runs.checkpoint import newest_finished
from rdrop_cli.core.storage.integrity import with_checksum
from rdrop_cli.errors import DataError, ModelError, StorageError


def state(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def model(exported):
    return Path(exported["checkpoint"])


def test_a_full_disk_leaves_the_earlier_export(model, monkeypatch):
    def fill(backend, names, path, **_):
        path.write_bytes(b"half")
        with graph.map_export_errors("exported to ONNX"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(graph, "write_float32", fill)
    before = state(model)
    with pytest.raises(StorageError, match=r"best/onnx: cannot be written \(No space left on device\)"):
        export_run(newest_finished())
    assert state(model) == before


def test_other_probabilities_are_refused(model, instant_export, monkeypatch):
    monkeypatch.setattr(check, "LARGEST_DIFFERENCE", -1.0)
    before = state(model)
    with pytest.raises(ModelError, match=r"other probabilities than PyTorch .*It was not kept"):
        export_run(newest_finished())
    assert state(model) == before


def test_an_exporter_that_fails_gives_one_line_with_the_cause():
    with (
        pytest.raises(ModelError, match=r"^the model cannot be quantized \(KeyError: 'x'\)$"),
        graph.map_export_errors("quantized"),
    ):
        raise KeyError("x")


def test_a_run_without_its_data_cannot_be_checked(model, reviews):
    record = model.parent / "data.json"
    content = json.loads(record.read_text())
    content["source"]["name"] = "reviews.csv"
    record.write_text(with_checksum({**content, "prepared": "gone"}))
    with reviews.open("a") as stream:
        stream.write("a new review,1\n")
    with pytest.raises(DataError, match=r"the data has changed since .* Restore it: an export is checked on it"):
        export_run(newest_finished())


def test_classes_are_compared_by_the_names_of_the_training(model, instant_export):
    config = model / "config.json"
    config.write_text(config.read_text().replace('"0": "0"', '"0": "1"').replace('"1": "1"', '"1": "0"'))
    exported = export_run(newest_finished(), most_texts=10)
    assert exported.check["texts"] == 10
    assert exported.check["onnx"]["accuracy"] > 0.7


def test_a_quantizer_that_fails_costs_only_the_int8_model(model, instant_export, monkeypatch):
    def fail(float32, path):
        path.write_bytes(b"half")
        raise ModelError("the model cannot be quantized")

    monkeypatch.setattr(graph, "write_int8", fail)
    exported = export_run(newest_finished(), int8=True)
    assert exported.refused == "the model cannot be quantized"
    assert list(exported.sizes) == ["model.onnx"]


def test_a_tokenizer_that_needs_transformers_is_found_out(model):
    export = onnx_export.read_export(model / "onnx")
    ours, theirs = Classifier(OnnxBackend(export)), Classifier(OnnxBackend(export))
    sample = Sample(["a great movie"], None, np.array([1]))
    require_equal_tokens(theirs, ours, sample)
    ours.backend.max_length = 4
    with pytest.raises(ModelError, match=r"tokenizer\.json gives other tokens .* for instance for 'a great movie'"):
        require_equal_tokens(theirs, ours, sample)


def test_texts_of_one_class_are_enough():
    found = agreement(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 0]))
    assert (found["labels_changed"], found["accuracy"]) == (1, 0.5)
    assert found["largest_difference"] == pytest.approx(0.2)
