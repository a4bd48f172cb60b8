"""The export at the end of `rdrop train`."""

from pathlib import Path

import pytest

from rdrop_cli.core.exporting import graph
from rdrop_cli.core.storage import extras


@pytest.fixture
def train(reviews, tiny_args):
    """The arguments of a training that exports."""
    return ["train", reviews, *(option for option in tiny_args if option != "--no-export"), "--epochs", "1"]


def test_a_finished_run_is_exported_and_used_by_predict(rdrop, train):
    lines = rdrop(*train, "--out", "run").stdout.splitlines()
    assert lines[-4] == "Run folder: run"
    assert lines[-3].startswith("Exported to ONNX in ")
    assert lines[-3].endswith(" KiB, all 20 labels checked are equal")
    assert lines[-1] == 'Next: rdrop predict --checkpoint run "some text"'
    assert rdrop.json("predict", "a great movie", "--checkpoint", "run", "--backend", "onnx")["predictions"]
    assert rdrop.json("runs", "verify", "./run")["runs"][0]["outcome"] == "intact"


def fail(*_, **__):
    with graph.map_export_errors("exported to ONNX"):
        raise KeyError("op")


def interrupt(*_, **__):
    raise KeyboardInterrupt


def fill(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("failure", "problem"),
    [
        (fail, "the model cannot be exported to ONNX (KeyError: 'op')"),
        (interrupt, "interrupted"),
        (fill, "run/best/onnx: cannot be written (No space left on device)"),
    ],
)
def test_whatever_happens_to_the_export_the_training_has_succeeded(rdrop, train, monkeypatch, failure, problem):
    monkeypatch.setattr(graph, "write_float32", failure)
    result = rdrop(*train, "--out", "run", "--json")
    lines = result.stderr.splitlines()
    assert lines[-3] == f"No ONNX export: {problem}. Make one with: rdrop export run"
    assert lines[-1].startswith("Next: ")
    document = rdrop.json("runs", "show", "./run")
    assert document["state"] == "finished"
    assert f'"export": null, "export_error": "{problem}"' in result.stdout
    assert not any("onnx" in path.name for path in Path("run/best").iterdir())


def test_without_the_packages_one_line_says_what_is_missing(rdrop, train, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "onnxruntime" else object())
    lines = rdrop(*train, "--out", "run").stdout.splitlines()
    assert lines[-3] == (
        "No ONNX export: onnxruntime is not installed (pip install 'rdrop-cli[onnx]'), so predictions load PyTorch"
    )
