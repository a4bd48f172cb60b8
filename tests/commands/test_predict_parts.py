"""`rdrop predict` of many files: one part out for each in, finished parts are kept, unreadable ones named."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import heavy_imports, make_reviews, write_csv
from rdrop_cli.core.inference import part_prediction
from rdrop_cli.errors import ModelError

MANY = ("predict", "--input", "parts", "--output", "out", "--backend", "onnx")
TEXTS = [text for text, _ in make_reviews(30, seed=5)]


@pytest.fixture
def trained(exported):
    return exported


@pytest.fixture
def parts(trained):
    """Three parts of ten texts: csv, parquet, and gzipped text in a subfolder."""
    Path("parts/deep").mkdir(parents=True)
    write_csv(Path("parts/part-2.csv"), [(text, 1) for text in TEXTS[:10]])
    pq.write_table(pa.table({"text": TEXTS[10:20], "id": list(range(10))}), "parts/part-10.parquet")
    with gzip.open("parts/deep/a.txt.gz", "wt") as stream:
        stream.write("\n".join(TEXTS[20:]) + "\n")
    return Path("parts")


def statuses(document):
    return {part["name"]: part["status"] for part in document["parts"]}


def read_csv(path):
    with Path(path).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_each_part_has_its_predictions_in_its_own_format(rdrop, parts):
    document = rdrop.json(*MANY)
    assert (document["count"], document["failed"], document["problems"], document["shard"]) == (30, 0, 0, None)
    assert [part["name"] for part in document["parts"]] == ["deep/a.txt.gz", "part-2.csv", "part-10.parquet"]
    assert [part["output"] for part in document["parts"]] == [
        "out/deep/a.jsonl.gz", "out/part-2.csv", "out/part-10.parquet",
    ]  # fmt: skip
    assert [row["text"] for row in read_csv("out/part-2.csv")] == TEXTS[:10]
    assert pq.read_table("out/part-10.parquet")["text"].to_pylist() == TEXTS[10:20]
    with gzip.open("out/deep/a.jsonl.gz", "rt") as stream:
        lines = [json.loads(line) for line in stream]
    assert [line["text"] for line in lines] == TEXTS[20:]
    single = rdrop.json("predict", "--input", "parts/deep/a.txt.gz")["predictions"]
    for line, alone in zip(lines, single, strict=True):
        assert line["label"] == alone["label"]
        assert line["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)
    labels = [part["labels"] for part in document["parts"]]
    assert document["labels"] == {name: sum(each.get(name, 0) for each in labels) for name in ("0", "1")}


def test_what_is_said(rdrop, parts):
    Path("parts/notes.md").write_text("# Notes")
    said = " ".join(rdrop(*MANY).stderr.split())
    assert "3 parts in parts, " in said
    assert "1 file of other types passed over: notes.md" in said
    assert "Texts without a table get predictions as jsonl: out/deep/a.jsonl.gz for parts/deep/a.txt.gz" in said
    assert "Columns: text 'text'" in said
    assert "30 predictions of 3 parts in out (onnx): 0: " in said
    assert rdrop(*MANY, "--quiet").stderr == "1 file of other types passed over: notes.md\n"


def test_a_folder_of_predictions_is_read_as_one_table(rdrop, trained):
    Path("parts").mkdir()
    for number in range(2):
        pq.write_table(pa.table({"text": TEXTS[:5]}), f"parts/{number}.parquet")
    rdrop(*MANY)
    assert pq.read_table("out").num_rows == 10


def test_the_same_command_predicts_only_what_is_not_finished(rdrop, parts):
    rdrop(*MANY)
    kept = Path("out/part-2.csv").stat().st_mtime_ns
    Path("out/part-10.parquet").unlink()
    write_csv(Path("parts/new.csv"), [("great", 1)])
    document = rdrop.json(*MANY)
    assert statuses(document) == {
        "deep/a.txt.gz": "finished before", "new.csv": "predicted", "part-2.csv": "finished before",
        "part-10.parquet": "predicted",
    }  # fmt: skip
    assert document["count"] == 31
    assert Path("out/part-2.csv").stat().st_mtime_ns == kept
    assert "4 parts finished already" in rdrop(*MANY).stderr
    assert set(statuses(rdrop.json(*MANY, "--overwrite")).values()) == {"predicted"}


def test_a_part_that_has_changed_is_predicted_again_and_that_is_said(rdrop, parts):
    rdrop(*MANY)
    write_csv(parts / "part-2.csv", [("great", 1), ("dull", 0)])
    result = rdrop(*MANY)
    assert "parts/part-2.csv: has changed since it was predicted" in result.stderr
    assert [row["text"] for row in read_csv("out/part-2.csv")] == ["great", "dull"]
    assert "has changed" not in rdrop(*MANY).stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--threshold", "0.7"], "threshold none instead of value 0.7, label 1"),
        (["--abstain-below", "0.9"], "--abstain-below none instead of 0.9"),
        (["--backend", "onnx-int8"], "backend onnx instead of onnx-int8; precision float32 instead of int8"),
        (["--text-column", "id"], "columns text text instead of text id"),
    ],
)
def test_other_settings_are_refused_unless_they_are_to_replace_what_is_there(rdrop, parts, options, said):
    rdrop(*MANY)
    before = Path("out/part-2.csv").read_bytes()
    message = rdrop.error(*MANY, *options).partition("error: ")[2]
    assert message == (
        f"out: has predictions with other settings: {said}. Give another --output, or replace what is there with"
        " --overwrite."
    )
    assert Path("out/part-2.csv").read_bytes() == before


def test_another_model_is_refused(rdrop, trained, parts):
    rdrop(*MANY, "--backend", "torch")
    from safetensors.torch import load_file, save_file

    path = Path(trained["checkpoint"], "model.safetensors")
    (path.parent / "manifest.json").unlink()
    save_file({name: weight + 1 for name, weight in load_file(path).items()}, path, metadata={"format": "pt"})
    assert "other settings: model (its files differ)" in rdrop.error(*MANY, "--backend", "torch")
    document = rdrop.json(*MANY, "--backend", "torch", "--overwrite")
    assert set(statuses(document).values()) == {"predicted"}


def test_what_overwrite_began_is_resumed_without_it(rdrop, parts, monkeypatch):
    rdrop(*MANY)
    with monkeypatch.context() as patch:
        patch.setattr(part_prediction, "open_writer", fail_after(1))
        assert "no more" in rdrop.error(*MANY, "--threshold", "0.7", "--overwrite")
    document = rdrop.json(*MANY, "--threshold", "0.7")
    assert list(statuses(document).values()) == ["finished before", "predicted", "predicted"]
    assert document["threshold"] == {"value": 0.7, "label": "1"}


def fail_after(parts):
    """Writers of which only the first ones can be opened."""
    real, opened = part_prediction.open_writer, []

    def open_writer(path, labels):
        opened.append(path)
        if len(opened) > parts:
            raise ModelError("no more")
        return real(path, labels)

    return open_writer


def test_shards_together_predict_every_part_once(rdrop, parts):
    found = [rdrop.json(*MANY, "--shard", f"{number}/2") for number in (1, 2)]
    assert [list(statuses(document)) for document in found] == [["deep/a.txt.gz", "part-10.parquet"], ["part-2.csv"]]
    assert [document["shard"] for document in found] == ["1/2", "2/2"]
    assert set(statuses(rdrop.json(*MANY)).values()) == {"finished before"}
    document = rdrop.json(*MANY, "--shard", "4/4")
    assert (document["count"], document["parts"], document["backend"]) == (0, [], None)


def test_an_unreadable_part_is_named_and_the_others_are_predicted(rdrop, parts):
    Path("parts/broken.parquet").write_bytes(b"PAR1 no")
    write_csv(Path("parts/numbers.csv"), [(1, 2)], ("a", "b"))
    result = rdrop(*MANY, "--json", code=1)
    document, said = json.loads(result.stdout), " ".join(result.stderr.split())
    assert document["count"] == 30 and document["failed"] == 2
    assert [part["name"] for part in document["parts"] if part["status"] == "failed"] == [
        "broken.parquet",
        "numbers.csv",
    ]
    assert "parts/broken.parquet: not a parquet file, or damaged" in said
    assert "parts/numbers.csv: no text column" in said
    assert said.endswith(
        "error: 2 of 5 parts could not be predicted: broken.parquet, numbers.csv. The others are finished; correct"
        " these, and give the same command again."
    )
    assert not Path("out/broken.parquet").exists() and not list(Path("out").glob(".*partial"))


def test_a_bad_row_is_counted_and_stops_nothing(rdrop, trained):
    Path("parts").mkdir()
    Path("parts/a.csv").write_bytes(b"text,n\ngreat,1\nbad \xff,2\n,3\n")
    Path("parts/b.jsonl").write_text('{"text": "fine"}\nnothing\n')
    result = rdrop(*MANY, "--json")
    document = json.loads(result.stdout)
    assert (document["count"], document["problems"]) == (5, 2)
    assert [part["problems"] for part in document["parts"]] == [1, 1]
    assert "2 rows with problems; the first: parts/a.csv, line 3: not valid UTF-8" in " ".join(result.stderr.split())


def test_abstaining_is_counted_over_all(rdrop, parts):
    result = rdrop(*MANY, "--abstain-below", "0.999999", "--json")
    document = json.loads(result.stdout)
    assert document["without_label"] + sum(document["labels"].values()) == 30
    assert f"{document['without_label']} of 30 texts got no label (below 0.999999)" in result.stderr


def test_a_part_that_changes_while_it_is_read_is_not_taken(rdrop, parts, monkeypatch):
    real, calls = part_prediction.predict, count(1)

    def meddling(*arguments, **options):
        number = next(calls)
        os.utime("parts/part-2.csv", ns=(number, number))
        return real(*arguments, **options)

    monkeypatch.setattr(part_prediction, "predict", meddling)
    assert "parts/part-2.csv: was changed while it was read" in rdrop.error(*MANY)
    assert not Path("out/part-2.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--input", "parts"], 2, "many files as --input need a folder as --output"),
        (["--input", "parts", "--output", "-"], 2, "many files as --input need a folder as --output"),
        (["--input", "parts", "--output", "out", "--shard", "3/2"], 1, "--shard 3/2: must be I/N with I from 1 to N"),
        (["--input", "reviews.csv", "--output", "o.csv", "--shard", "1/2"], 2, "--shard needs a folder or a pattern"),
        (["great", "--overwrite"], 2, "--overwrite needs a folder or a pattern"),
        (["--input", "parts/part-2.csv", "parts/part-10.parquet"], 2, "give either TEXT or --input"),
        (["--input", "gone/*.csv", "--output", "out"], 1, "gone/*.csv: no csv, tsv, jsonl, txt, parquet files found"),
    ],
)
def test_mistakes_are_named(rdrop, parts, arguments, code, message):
    assert message in rdrop.error("predict", *arguments, code=code)
    assert not Path("out").exists()


def test_a_pattern_that_the_shell_has_expanded_is_explained(rdrop, parts):
    message = rdrop.error("predict", "--input", "parts/part-2.csv", "parts/part-10.parquet", code=2)
    assert "the shell has expanded a pattern: put it in quotes" in message


def test_an_interrupted_command_keeps_what_is_finished(rdrop, parts):
    code = (
        "import os, signal, sys\n"
        "from rdrop_cli.app import app\n"
        "from rdrop_cli.core.inference import part_records\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background begins with it ignored
        "write = part_records.write_part\n"
        "def interrupting(*arguments):\n"
        "    write(*arguments)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "part_records.write_part = interrupting\n"
        "app(sys.argv[1:], prog_name='rdrop')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *MANY], capture_output=True, text=True)
    assert done.returncode == 130
    assert "finished; the same command resumes" in done.stderr
    assert list(statuses(rdrop.json(*MANY)).values()) == ["finished before", "predicted", "predicted"]


def test_a_killed_command_leaves_no_part_half_written(rdrop, parts):
    code = (
        "import os, signal, sys\n"
        "from rdrop_cli.app import app\n"
        "from rdrop_cli.core.storage import files\n"
        "rename = files._rename\n"
        "def dying(source, target):\n"
        "    if target.name == 'part-2.csv':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    rename(source, target)\n"
        "files._rename = dying\n"
        "app(sys.argv[1:], prog_name='rdrop')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *MANY], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not Path("out/part-2.csv").exists() and list(Path("out").glob(".*partial"))
    assert list(statuses(rdrop.json(*MANY)).values()) == ["finished before", "predicted", "predicted"]
    assert not list(Path("out").glob(".*partial"))


def test_many_files_need_no_pytorch_with_an_export(parts):
    Path("parts/part-10.parquet").unlink()
    assert heavy_imports([*MANY], "pyarrow", "yaml", "rdrop_cli.schema") == "[]"
    assert Path("out/part-2.csv").is_file()
