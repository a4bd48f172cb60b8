"""`rdrop predict`: order, count, formats, and text that stays text."""

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from conftest import CLI, make_reviews, write_csv
from rdrop_cli.core.inference import prediction

torch_only, onnx_only = (pytest.mark.parametrize("rdrop", [name], indirect=True) for name in ("torch", "onnx"))
NASTY = ["\x1b]0;x\x07", "[bold red]x[/]", "[/]", "\u202eabc", "", "a\x00b"]


class Predicting(CLI):
    """The command line, whose predictions are made by one backend."""

    def __init__(self, backend):
        self.backend = backend

    def __call__(self, command, *arguments, **options):
        return super().__call__(command, *arguments, *self.options(command), **options)

    def options(self, command):
        return ["--backend", self.backend] if command == "predict" else []


@pytest.fixture(params=["torch", "onnx"])
def rdrop(request):
    return Predicting(request.param)


@pytest.fixture
def trained(exported):
    """Both backends predict with one run."""
    return exported


def test_the_newest_finished_run_is_the_default(rdrop, trained):
    found = rdrop.json("predict", "great movie", "a dull awful boring mess")["predictions"]
    assert [item["label"] for item in found] == ["1", "0"]
    for item in found:
        assert set(item) == {"text", "label", "score", "probabilities"}
        assert item["score"] == item["probabilities"][item["label"]] == max(item["probabilities"].values())
        assert sum(item["probabilities"].values()) == pytest.approx(1.0)


def test_a_table_shows_every_class(rdrop, trained):
    shown = rdrop("predict", "great movie").stdout
    assert shown.splitlines()[0] == f"Predictions of {trained['checkpoint']} ({rdrop.backend})"
    assert [cell.strip() for cell in shown.splitlines()[-2].split("│")[1:3]] == ["great movie", "1"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet", "jsonl.gz"])
def test_files_keep_order_and_count(rdrop, trained, tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(prediction, "CHUNK", 64)  # several chunks
    rows = make_reviews(150, seed=3)
    source = write_csv(tmp_path / "in.csv", [(text, i, "x") for i, (text, _) in enumerate(rows)], ("text", "n", "z"))
    rdrop("predict", "--input", source, "--output", f"out.{suffix}")
    if suffix == "parquet":
        texts = pq.read_table("out.parquet")["text"].to_pylist()
    elif suffix.startswith("jsonl"):
        content = Path(f"out.{suffix}").read_bytes()
        lines = (gzip.decompress(content) if suffix.endswith("gz") else content).decode().splitlines()
        texts = [json.loads(line)["text"] for line in lines]
    else:
        with Path(f"out.{suffix}").open(newline="") as stream:
            table = list(csv.DictReader(stream, delimiter="\t" if suffix == "tsv" else ","))
        assert list(table[0]) == ["text", "label", "score", "probability_0", "probability_1"]
        texts = [row["text"] for row in table]
    assert texts == [text for text, _ in rows]


def test_lines_from_standard_input_with_blank_ones(rdrop, trained):
    rdrop("predict", "--input", "-", "--output", "out.jsonl", stdin=b"great\n\ndull\n")
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == ["great", "", "dull"]


def test_without_output_a_pipe_gets_lines(rdrop, trained):
    out = rdrop("predict", "--input", "-", stdin=b"great\ndull\tand awful\n").stdout
    assert [line.split("\t")[2] for line in out.splitlines()] == ["great", "dull\\tand awful"]


def test_text_is_data(rdrop, trained):
    """Codes and markup are shown escaped, and come back intact in JSON."""
    (Path("in.jsonl")).write_text("".join(json.dumps({"text": text}) + "\n" for text in NASTY))
    rdrop("predict", "--input", "in.jsonl", "--output", "out.jsonl")
    lines = [json.loads(line)["text"] for line in Path("out.jsonl").read_text().splitlines()]
    assert lines == NASTY
    shown = rdrop("predict", "--input", "in.jsonl").stdout + rdrop("predict", *NASTY[:4]).stdout
    assert not set("\x1b\x07\u202e\x00") & set(shown)
    assert "[bold red]x[/]" in shown


def test_no_row_is_lost_to_a_problem_and_problems_are_said(rdrop, trained):
    Path("in.csv").write_bytes(b"text,n\ngreat,1\nbad \xff,2\nragged\n,4\nlast,5\n")
    result = rdrop("predict", "--input", "in.csv", "--output", "out.jsonl")
    lines = [json.loads(line)["text"] for line in Path("out.jsonl").read_text().splitlines()]
    assert lines == ["great", "bad \ufffd", "ragged", "", "last"]
    assert "2 rows with problems; the first: in.csv, line 3: not valid UTF-8" in " ".join(result.stderr.split())


def test_an_empty_input_gives_an_empty_output(rdrop, trained):
    rdrop("predict", "--input", "-", "--output", "out.jsonl", stdin=b"")
    assert Path("out.jsonl").read_text() == ""
    assert rdrop.json("predict", "--input", "-", stdin=b"") == {"backend": rdrop.backend, "predictions": []}


def test_a_failure_leaves_the_old_output(rdrop, trained, monkeypatch):
    Path("out.jsonl").write_text("precious\n")
    Path("in.txt").write_text("great\n" * 10)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rdrop_cli.core.inference.writers._write_json", fail)
    assert "No space left on device" in rdrop.error("predict", "--input", "in.txt", "--output", "out.jsonl")
    assert Path("out.jsonl").read_text() == "precious\n"
    assert not list(Path().glob(".*partial"))


@torch_only
def test_pipeline_gives_the_same_probabilities_and_names(rdrop, trained):
    from transformers import pipeline

    texts = [text for text, _ in make_reviews(20, seed=4)] + ["the movie was great " * 40]
    ours = rdrop.json("predict", *texts, "--precision", "float32")["predictions"]
    pipe = pipeline("text-classification", model=trained["checkpoint"], top_k=None)
    for item, theirs in zip(ours, pipe(texts, truncation=True), strict=True):
        assert {each["label"]: pytest.approx(each["score"], abs=1e-5) for each in theirs} == item["probabilities"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["text", "--checkpoint", "gone"], "gone: no such run or checkpoint. Runs: reviews-tiny-bert-alpha1-seed42."),
        (["--input", "gone.csv"], "gone.csv: no such file"),
        (["--input", "gone.csv", "--output", "reviews.csv"], "gone.csv: no such file"),
        (["--input", "reviews.csv", "--text-column", "review"], "no column 'review'; found 'text', 'label'"),
        (["text", "--output", "out.docx"], "out.docx: unknown output format"),
        (["text", "--output", "gone/out.csv"], "gone/out.csv: its folder does not exist"),
        (["--input", "-", "--input-format", "xml"], "--input-format xml: unknown"),
    ],
)
def test_mistakes_are_named(rdrop, trained, arguments, message):
    assert message in rdrop.error("predict", *arguments)


def test_a_text_that_is_a_file_is_asked_about_and_one_too_long_for_a_name_is_a_text(rdrop, trained, tmp_path):
    (tmp_path / "results.csv").write_text("text\n")
    assert "results.csv is taken as text; to classify" in " ".join(rdrop("predict", "results.csv").stdout.split())
    assert rdrop.json("predict", "see our great results " * 50 + "in results.csv")["predictions"]


def test_no_run_yet(rdrop):
    assert "no finished run found in runs/. Train one with rdrop train" in rdrop.error("predict", "great movie")


@torch_only
def test_weights_that_are_pickled_are_refused(rdrop, trained):
    weights = Path(trained["checkpoint"], "model.safetensors")
    weights.rename(weights.with_name("pytorch_model.bin"))
    shutil.rmtree(weights.with_name("onnx"))
    assert "the weights are pickled" in rdrop.error("predict", "text", "--checkpoint", trained["run_dir"])


@torch_only
def test_a_model_that_is_no_classifier_is_refused(rdrop, tiny_model):
    message = rdrop.error("predict", "text", "--checkpoint", tiny_model)
    assert "not a fine-tuned text classifier (BertModel)" in message


def test_memory_does_not_grow_with_the_input(rdrop, trained, tmp_path):
    """Peak memory of 40,000 rows of 20 columns against that of 4,000."""
    code = (
        "import resource, sys\n"
        "from rdrop_cli.app import app\n"
        "try: app(sys.argv[1:], prog_name='rdrop')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for count in (4_000, 40_000):
        source = write_csv(
            tmp_path / "in.csv",
            ([f"great movie {i}", *range(19)] for i in range(count)),
            ("text", *(f"c{i}" for i in range(19))),
        )
        arguments = ["predict", "--input", str(source), "--output", "out.jsonl", "--quiet", "--batch-size", "256"]
        arguments += rdrop.options("predict")
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=Path.cwd()
        )
        peaks.append(int(done.stdout.split()[-1]))
        with Path("out.jsonl").open() as stream:
            assert sum(1 for _ in stream) == count
    assert peaks[1] - peaks[0] < 30_000, f"KiB: {peaks}"


def test_the_input_is_not_overwritten_with_its_predictions(rdrop, trained):
    before = Path("reviews.csv").read_text()
    rdrop("predict", "--input", "reviews.csv", "--output", "reviews.csv", code=2)
    assert Path("reviews.csv").read_text() == before


def test_texts_with_carriage_returns_survive_a_csv(rdrop, trained):
    texts = ["one\rtwo", "three\nfour", "five\r\nsix", 'a "quote", and a comma']
    Path("in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    rdrop("predict", "--input", "in.jsonl", "--output", "out.csv")
    again = rdrop.json("predict", "--input", "out.csv")["predictions"]
    assert [item["text"] for item in again] == texts


def test_a_lone_surrogate_becomes_a_replacement_character(rdrop, trained):
    Path("in.jsonl").write_text('{"text": "cut \\ud83d"}\n{"text": "whole \\ud83d\\udc4d"}\n')
    found = rdrop.json("predict", "--input", "in.jsonl")["predictions"]
    assert [item["text"] for item in found] == ["cut \ufffd", "whole 👍"]


@torch_only
def test_weights_that_are_not_finite_are_said_to_be_so(rdrop, trained):
    from safetensors.torch import load_file, save_file

    path = Path(trained["checkpoint"], "model.safetensors")
    Path(trained["checkpoint"], "manifest.json").unlink()
    weights = load_file(path)
    weights["classifier.bias"].fill_(float("nan"))
    save_file(weights, path, metadata={"format": "pt"})
    for arguments in (["predict", "text"], ["evaluate", trained["run_dir"]]):
        assert "the model's output is not finite" in rdrop.error(*arguments)


@pytest.mark.parametrize(("key", "value"), [("problem_type", "multi_label_classification"), ("num_labels", 1)])
def test_models_that_do_not_choose_one_of_several_classes_are_refused(rdrop, trained, key, value):
    path = Path(trained["checkpoint"], "config.json")
    config = json.loads(path.read_text())
    if key == "num_labels":
        config["id2label"], config["label2id"] = {"0": "only"}, {"only": 0}
        del config["problem_type"]
    else:
        config[key] = value
    path.write_text(json.dumps(config))
    assert "not a single-label classifier" in rdrop.error("predict", "text")


def test_a_document_is_closed_also_when_reading_fails_half_way(rdrop, trained):
    table = b'text\na\nb\n"open\nnever closed\n'
    result = rdrop("predict", "--input", "-", "--input-format", "csv", "--json", stdin=table, code=1)
    assert json.loads(result.stdout)["predictions"] == []
    assert "line 4: a quote is opened here and never closed" in result.stderr


def test_an_input_in_the_home_folder_is_not_replaced_by_its_predictions(rdrop, trained, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("in.csv").write_text("text\ngreat\n")
    rdrop("predict", "--input", "~/in.csv", "--output", "in.csv", code=2)
    assert Path("in.csv").read_text() == "text\ngreat\n"
    rdrop("predict", "--input", "~/in.csv", "--output", "~/out:x.parquet")
    assert Path("out:x.parquet").is_file()


@onnx_only
def test_a_narrow_encoding_is_no_reason_to_fail(rdrop, trained):
    command = [sys.executable, "-m", "rdrop_cli", "predict", "caf\xe9 \u2013", *rdrop.options("predict")]
    for extra, shown in ([], "caf\\xe9 \\u2013"), (["--json"], "caf\\u00e9 \\u2013"):
        done = subprocess.run(
            [*command, *extra],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout


@torch_only
def test_a_device_can_be_named(rdrop, trained, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert rdrop.json("predict", "great", "--device", "cpu")["predictions"]
    assert rdrop.json("evaluate", trained["run_dir"], "--device", "cpu")["metrics"]
    for command in (["predict", "great"], ["evaluate", trained["run_dir"]]):
        assert "no CUDA GPU found" in rdrop.error(*command, "--device", "cuda")
        assert "must be auto, cpu, cuda, cuda:N or mps" in rdrop.error(*command, "--device", "gpu")
