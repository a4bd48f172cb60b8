"""Which backend runs a model, and what is said if an ONNX export cannot be used."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import make_reviews, write_csv
from rdrop_cli.core.inference.backends import choice
from rdrop_cli.core.runs import onnx_export
from rdrop_cli.core.runs.checkpoint import find_checkpoint
from rdrop_cli.core.storage import integrity

RUN = "runs/reviews-tiny-bert-alpha1-seed42"
BEST = Path(RUN, "best")
ONNX = BEST / "onnx"
AGAIN = f"Export it again with: rdrop export {RUN}."


def change(path: Path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def seal_again():
    """As a new training of the run does."""
    (BEST / "manifest.json").unlink()
    integrity.seal(BEST, leave_out=("README.md", "rdrop.json", "config.json"))


def change_a_byte(monkeypatch):
    content = bytearray((ONNX / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (ONNX / "model.onnx").write_bytes(content)


def change_weights(monkeypatch):
    from safetensors.torch import load_file, save_file

    weights = load_file(BEST / "model.safetensors")
    weights["classifier.bias"] += 1
    save_file(weights, BEST / "model.safetensors", metadata={"format": "pt"})
    shutil.move(ONNX, "kept")
    seal_again()
    shutil.move("kept", ONNX)


def change_tokenizer(monkeypatch):
    content = json.loads((BEST / "tokenizer.json").read_text())
    content["model"]["vocab"]["splendid"] = len(content["model"]["vocab"])
    (BEST / "tokenizer.json").write_text(json.dumps(content))
    (BEST / "manifest.json").unlink()


def no_onnxruntime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


def a_file_that_is_no_model(monkeypatch):
    (ONNX / "model.onnx").write_bytes(b"no model" * 100)
    (ONNX / "manifest.json").write_text(onnx_export.read_export(ONNX).manifest())


FAULTS = {
    "a changed byte": (change_a_byte, f"{ONNX}: model.onnx has changed since it was written", AGAIN),
    "no model": (lambda _: (ONNX / "model.onnx").unlink(), f"{ONNX}: has no model.onnx", f"rdrop export {RUN}."),
    "no manifest": (lambda _: (ONNX / "manifest.json").unlink(), f"{ONNX}/manifest.json: file not found", AGAIN),
    "an edited manifest": (
        lambda _: change(ONNX / "manifest.json", labels=["a", "b"]),
        f"{ONNX}/manifest.json: is damaged",
        AGAIN,
    ),
    "other weights": (change_weights, "is out of date, because model.safetensors has changed since the export", AGAIN),
    "another tokenizer": (
        change_tokenizer,
        "is out of date, because tokenizer.json has changed since the export",
        AGAIN,
    ),
    "no onnxruntime": (no_onnxruntime, "onnxruntime cannot be imported", "pip install 'rdrop-cli[onnx]'."),
    "not a model": (a_file_that_is_no_model, "model.onnx: ONNX Runtime cannot load it", "pip install -U onnxruntime."),
}


@pytest.mark.parametrize(("break_it", "fault", "remedy"), FAULTS.values(), ids=FAULTS)
def test_an_export_that_cannot_be_used_is_refused_and_auto_says_so_and_uses_torch(
    rdrop, exported, monkeypatch, break_it, fault, remedy
):
    break_it(monkeypatch)
    said = rdrop("predict", "great", "--backend", "onnx", code=1).stderr
    assert said.count("\n") == 1 and fault in said and said.rstrip().endswith(remedy)
    answered = rdrop("predict", "great", "--json")
    assert json.loads(answered.stdout)["backend"] == "torch"
    assert answered.stderr.count("\n") == 1
    assert fault in answered.stderr and answered.stderr.rstrip().endswith(f"{remedy} PyTorch is used instead")


def test_without_an_export_auto_is_torch_and_says_nothing(rdrop, trained):
    answered = rdrop("predict", "great", "--json")
    assert (json.loads(answered.stdout)["backend"], answered.stderr) == ("torch", "")
    said = rdrop.error("predict", "great", "--backend", "onnx")
    assert said == f"error: {BEST}: has no ONNX export. Make it with: rdrop export {RUN}."


def test_without_the_int8_model_it_is_said_how_it_is_made(rdrop, exported):
    (ONNX / "model_quantized.onnx").unlink()
    said = rdrop.error("predict", "great", "--backend", "onnx-int8")
    assert said == f"error: {ONNX}: has no model_quantized.onnx. Make it with: rdrop export {RUN} --int8."
    assert rdrop.json("predict", "great")["backend"] == "onnx"


def test_what_only_torch_does_is_refused_for_an_export(rdrop, exported, monkeypatch):
    for option, value in (("precision", "bfloat16"), ("device", "cuda")):
        said = rdrop.error("predict", "great", "--backend", "onnx", f"--{option}", value)
        assert f"--{option} {value}: an ONNX export" in said
        assert said.endswith(f"Omit --{option}, or use --backend torch.")
    assert rdrop.json("predict", "great", "--precision", "float32")["backend"] == "torch"
    assert rdrop.json("predict", "great", "--backend", "onnx", "--device", "cpu")["backend"] == "onnx"
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = rdrop.error("predict", "great", "--backend", "onnx")
    assert "an ONNX export is run by one process, not 2. Start only one, or use --backend torch." in said


@pytest.mark.parametrize("faster", ["onnx", "torch"])
def test_auto_runs_files_with_what_was_faster_and_single_texts_without_pytorch(rdrop, exported, faster, monkeypatch):
    monkeypatch.setattr(choice, "GPU_DRIVER", Path("no driver"))
    export = onnx_export.read_export(ONNX)
    export.check["faster"] = faster
    (ONNX / "manifest.json").write_text(export.manifest())
    assert rdrop.json("predict", "--input", "reviews.csv")["backend"] == faster
    assert rdrop.json("predict", "--input", "-", stdin=b"great\n")["backend"] == "onnx"
    assert rdrop.json("predict", "great")["backend"] == "onnx"
    written = rdrop("predict", "--input", "reviews.csv", "--output", "out.csv")
    assert f"200 predictions in out.csv ({faster}): " in written.stderr
    monkeypatch.setattr(choice, "GPU_DRIVER", Path("reviews.csv"))
    assert rdrop.json("predict", "--input", "reviews.csv")["backend"] == "torch"
    assert rdrop.json("predict", "--input", "reviews.csv", "--device", "cpu")["backend"] == faster


@pytest.fixture
def alone(exported):
    """An export in a folder of its own, without PyTorch's weights."""
    shutil.copytree(BEST, "alone", ignore=shutil.ignore_patterns("*.safetensors", "manifest.json"))
    shutil.copy(ONNX / "manifest.json", "alone/onnx/manifest.json")
    return "alone"


def test_a_folder_with_nothing_but_an_export(rdrop, alone, monkeypatch):
    monkeypatch.setattr(choice, "GPU_DRIVER", Path("reviews.csv"))
    for arguments in (["great"], ["--input", "reviews.csv"]):
        assert rdrop.json("predict", "--checkpoint", alone, *arguments)["backend"] == "onnx"
    missing = "alone: has an ONNX export, but no PyTorch weights. Use --backend onnx."
    assert rdrop.error("predict", "great", "--checkpoint", alone, "--backend", "torch") == f"error: {missing}"
    assert rdrop.error("evaluate", alone, "reviews.csv") == f"error: {missing}"
    Path(alone, "onnx/model.onnx").unlink()
    said = "alone/onnx: has no model.onnx. Make it from its run with: rdrop export RUN --out FOLDER."
    for backend in ("auto", "onnx"):
        assert rdrop.error("predict", "great", "--checkpoint", alone, "--backend", backend) == f"error: {said}"


def test_only_runs_can_be_exported(rdrop, exported):
    shutil.copytree(BEST, "elsewhere", ignore=shutil.ignore_patterns("onnx"))
    said = rdrop.error("predict", "great", "--checkpoint", "elsewhere", "--backend", "onnx")
    assert said == "error: elsewhere: has no ONNX export. Only runs can be exported; use --backend torch."


@pytest.mark.parametrize("names", [{"0": "thumbs down", "1": "thumbs up"}, None])
def test_edited_names_of_the_classes_are_used_by_every_backend(rdrop, exported, names):
    change(BEST / "config.json", id2label=names, label2id=None)
    expected = ["LABEL_0", "LABEL_1"] if names is None else list(names.values())
    for backend in ("torch", "onnx", "onnx-int8"):
        found = rdrop.json("predict", "great", "--backend", backend)["predictions"][0]
        assert list(found["probabilities"]) == expected


def test_names_for_other_classes_are_refused(rdrop, exported):
    change(BEST / "config.json", id2label={"0": "a", "1": "b", "2": "c"})
    said = rdrop.error("predict", "great", "--backend", "onnx")
    assert said == f"error: {BEST}/config.json: id2label does not name the 2 classes"
    change(BEST / "config.json", id2label={"1": "a", "2": "b"})
    for backend in ("torch", "onnx"):
        said = rdrop.error("predict", "great", "--backend", backend)
        assert said == f"error: {BEST}/config.json: id2label does not name the 2 classes"


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_two_classes_of_one_name_are_refused(rdrop, exported, backend):
    change(BEST / "config.json", id2label={"0": "a", "1": "a"}, label2id=None)
    said = rdrop.error("predict", "great", "--backend", backend)
    assert said == f"error: {BEST}/config.json: id2label gives the name 'a' to 2 classes"


def test_an_edited_max_length_is_used_by_every_backend(rdrop, exported):
    text = "great " * 3 + "dull awful boring cold clumsy tired " * 5
    change(BEST / "rdrop.json", max_length=5)
    for backend in ("torch", "onnx"):
        long, short = rdrop.json("predict", text, "great great great", "--backend", backend)["predictions"]
        assert long["probabilities"] == pytest.approx(short["probabilities"], abs=1e-6)


def test_a_max_length_beyond_the_models_positions_is_a_clear_error(rdrop, exported, capfd):
    change(BEST / "rdrop.json", max_length=100)
    assert rdrop.json("predict", "great", "--backend", "onnx")["predictions"]
    said = rdrop.error("predict", "great " * 90, "--backend", "onnx")
    assert "model.onnx: ONNX Runtime failed" in said and said.endswith("Use --backend torch.")
    said = rdrop.error("predict", "great", "--backend", "torch")
    assert said == f"error: {BEST}/rdrop.json: max_length 100 exceeds the model's 64 positions"
    assert capfd.readouterr().err == ""  # ONNX Runtime itself writes nothing


def test_the_number_of_threads_is_the_requested_one(exported, monkeypatch):
    for count in (1, 3):
        monkeypatch.setenv("OMP_NUM_THREADS", str(count))
        classifier = choice.open_classifier(find_checkpoint(RUN), backend="onnx")
        assert classifier.backend._session.get_session_options().intra_op_num_threads == count


@pytest.mark.parametrize("backend", ["onnx", "onnx-int8"])
def test_labels_are_those_of_torch_where_the_classes_are_not_close(rdrop, exported, backend, tmp_path):
    data = write_csv(tmp_path / "more.csv", make_reviews(300, seed=5))
    expected, found = (
        rdrop.json("predict", "--input", data, "--backend", name)["predictions"] for name in ("torch", backend)
    )
    close = 0.02 if backend == "onnx" else 0.1
    for one, other in zip(expected, found, strict=True):
        if abs(np.diff(list(one["probabilities"].values()))[0]) > close:
            assert one["label"] == other["label"]
        if backend == "onnx":
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)
