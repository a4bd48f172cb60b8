"""`rdrop export` as a user meets it."""

import json
import shutil
from pathlib import Path

import pytest

from rdrop_cli.core.exporting import check
from rdrop_cli.core.storage import extras
from rdrop_cli.core.storage.integrity import with_checksum
from rdrop_cli.core.storage.lock import only_writer


def test_an_export_is_compared_and_what_to_do_with_it_is_said(rdrop, trained, instant_export):
    lines = rdrop("export").stdout.splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert [row[0] for row in rows] == ["PyTorch float32", "ONNX float32"]
    assert [row[5] for row in rows] == ["0", "0"]
    assert any(line.startswith("Compared on 20 validation texts, ") for line in lines)
    assert f"to {trained['checkpoint']}/onnx: model.onnx " in lines[-2]
    assert lines[-1] == f'Next: rdrop predict --checkpoint {trained["run_dir"]} "some text"'
    texts = ["a great movie", "the plot was dull"]
    by = {backend: rdrop.json("predict", *texts, "--backend", backend)["predictions"] for backend in ("torch", "onnx")}
    for one, other in zip(by["torch"], by["onnx"], strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_a_folder_of_its_own_predicts_without_weights_and_replaces_an_earlier_one(rdrop, exported, instant_export):
    model = Path(exported["checkpoint"])
    shutil.copytree(model, "served", ignore=shutil.ignore_patterns("*.safetensors"))
    Path("served/manifest.json").unlink()
    shown = rdrop("export", exported["run_dir"], "--out", "served").stdout
    assert "The int8 model was made again, as the export that this one replaces had one" in shown
    assert 'Next: rdrop predict --checkpoint served "some text"' in shown
    names = {path.relative_to("served").as_posix() for path in Path("served").rglob("*") if path.is_file()}
    assert names >= {"config.json", "tokenizer.json", "rdrop.json", "onnx/model.onnx", "onnx/model_quantized.onnx"}
    assert not list(Path("served").rglob("*.safetensors"))

    manifest = Path("served/onnx/manifest.json")
    slower = json.loads(manifest.read_text())
    slower["check"]["faster"] = "torch"
    manifest.write_text(with_checksum(slower))
    Path("texts.txt").write_text("a great movie\nthe plot was dull\n")
    for given in (["a great movie"], ["--input", "texts.txt"]):
        served = rdrop("predict", *given, "--checkpoint", "served", "--json").stdout
        own = rdrop("predict", *given, "--checkpoint", exported["run_dir"], "--backend", "onnx", "--json").stdout
        assert json.loads(served) == json.loads(own)
    error = rdrop.error("predict", "text", "--checkpoint", "served", "--backend", "torch")
    assert error == "error: served: has an ONNX export, but no PyTorch weights. Use --backend onnx."


def test_an_int8_model_that_changes_labels_is_refused_and_float32_is_kept(rdrop, trained, instant_export, monkeypatch):
    monkeypatch.setattr(check, "MOST_CHANGED", -1)
    result = rdrop("export", "--int8", "--json", code=1)
    document = json.loads(result.stdout)
    assert list(document["bytes"]) == ["model.onnx"]
    assert document["check"]["onnx"]["labels_changed"] == 0
    assert result.stderr.splitlines()[-1] == (
        f"error: {document['refused']}. The float32 export in {trained['checkpoint']}/onnx is complete."
    )
    assert "of the labels, more than -100%, so it was not kept" in document["refused"]
    assert rdrop.json("predict", "a great movie", "--backend", "onnx")
    assert "has no model_quantized.onnx" in rdrop.error("predict", "text", "--backend", "onnx-int8")


@pytest.mark.parametrize(
    ("out", "fault"),
    [
        ("{run}", "is part of the run"),
        ("{run}/best/onnx", "is part of the run"),
        ("link", "is part of the run"),
        ("runs", "contains {name}, which is not part of an export"),
        (".", "is the current folder or contains it"),
        ("..", "is the current folder or contains it"),
        ("mine", "contains diary.txt, which is not part of an export"),
        ("model", "contains config.json, which is not part of an export"),
        ("reviews.csv", "already exists and is not a folder"),
    ],
)
def test_nothing_but_an_earlier_export_is_replaced(rdrop, trained, out, fault):
    run = Path(trained["run_dir"])
    for name in ("mine/diary.txt", "mine/onnx/model.onnx", "model/config.json"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("mine")
    Path("link").symlink_to(run)
    out = out.format(run=run)
    assert f"{out}: {fault.format(name=run.name)}. Give another --out" in rdrop.error("export", run, "--out", out)


def test_only_the_best_model_of_a_run_is_exported(rdrop, trained):
    shutil.copytree(trained["checkpoint"], "copy")
    assert "copy: not part of a run, so there are no texts to check an export on" in rdrop.error("export", "copy")
    checkpoint = next(Path(trained["run_dir"], "checkpoints").iterdir())
    shutil.copy(Path(trained["checkpoint"], "config.json"), checkpoint)
    error = rdrop.error("export", checkpoint)
    assert (
        f"{checkpoint}: only the best model of a run is exported. Give the run: {Path(trained['run_dir']).resolve()}."
        in error
    )


def test_a_run_in_use_is_left_alone(rdrop, trained):
    with only_writer(Path(trained["run_dir"])):
        for more in ([], ["--out", "served"]):
            error = rdrop.error("export", *more)
            assert error.endswith(
                f"{trained['run_dir']}: another process is writing to this folder. Wait until it ends."
            )


def test_what_is_not_installed_is_named(rdrop, trained, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "onnxscript" else object())
    error = rdrop.error("export")
    assert error == "error: exporting: onnxscript is not installed. Install it with: pip install 'rdrop-cli[onnx]'"


def test_one_process_exports(rdrop, trained, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert "run it without a launcher" in rdrop.error("export", code=2)
