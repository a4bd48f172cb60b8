"""Text from data is shown escaped wherever it turns up, and comes back from files as it was."""

import csv
import json
from pathlib import Path

import pytest

TEXTS = [
    "\x1b]0;x\x07", "[bold red]x[/]", "[/]", "\u202e", "great " * 170_000, "", "\x00", "a\nb\r\nc", "\x9b31m", "\u2028",
]  # fmt: skip
SHOWN = [
    "\\x1b]0;x\\x07",
    "[bold red]x[/]",
    "[/]",
    "\\u202e",
    "great great",
    "\\x00",
    "a\\nb\\r\\nc",
    "\\x9b31m",
    "\\u2028",
]
LABELS = ("\x1b[31mred\x07", "[bold]no[/]\u202e\nyes")


def assert_harmless(*outputs):
    for output in outputs:
        assert all(character.isprintable() or character == "\n" for character in output)


@pytest.fixture
def odd(rdrop, tiny_args):
    """A run on data whose labels, columns and file name try to act on a terminal; and its training's output."""
    data = Path("da\x1b[31mta\u202e.csv")
    with data.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["te\x1b[5mxt", "[red]label[/]"])
        writer.writerows([f"movie {number}", LABELS[number % 2]] for number in range(60))
        writer.writerow(["", "\x1b[0m"])
    columns = ["--text-column", "te\x1b[5mxt", "--label-column", "[red]label[/]"]
    return data, columns, rdrop("train", data, *columns, *tiny_args, "--epochs", "1", "--out", "run", "--allow-rejects")


def test_texts_in_predictions(rdrop, trained, tmp_path):
    result = rdrop("predict", *TEXTS)
    assert_harmless(result.stdout, result.stderr)
    for shown in SHOWN:
        assert shown in result.stdout.replace("\n", "")

    with Path("in.jsonl").open("w") as stream:
        stream.writelines(json.dumps({"text": text}) + "\n" for text in TEXTS)
    piped = rdrop("predict", "--input", "in.jsonl")
    assert_harmless(piped.stdout.replace("\t", ""), piped.stderr)
    assert len(piped.stdout.splitlines()) == len(TEXTS)
    assert [item["text"] for item in rdrop.json("predict", "--input", "in.jsonl")["predictions"]] == TEXTS
    for name in ("out.jsonl", "out.parquet", "out.csv"):
        rdrop("predict", "--input", "in.jsonl", "--output", name)
        again = rdrop.json("predict", "--input", name)["predictions"]
        assert [item["text"] for item in again] == TEXTS, name


def test_labels_columns_and_file_names_in_tables(rdrop, odd, tiny_args):
    data, columns, training = odd
    prepared = rdrop("prepare", data, *columns, *tiny_args[:4], "--out", "ready")
    evaluated = rdrop("evaluate", "run")
    refused = [
        rdrop("train", data, code=1),
        rdrop("evaluate", "run", data, "--label-column", "\x1b[2J", code=1),
        rdrop("train", data, *columns, "--set", "\x1b[2J=1", code=1),
        rdrop("train", "--\x1b[2J", code=2),
        rdrop("evaluate", "[red]gone\x1b[0m", code=1),
    ]
    for result in (training, prepared, evaluated, *refused):
        assert_harmless(result.stdout, result.stderr)
    for output in (prepared.stdout, evaluated.stdout):
        assert "\\x1b[31mred\\x07" in output
        assert "[bold]no[/]\\u202e\\nyes" in output
    assert "te\\x1b[5mxt is empty" in prepared.stdout


def test_labels_come_back_as_they_were(rdrop, odd):
    for name in ("out.jsonl", "out.csv", "out.parquet"):
        rdrop("predict", "movie", "--checkpoint", "run", "--output", name)
    assert json.loads(Path("out.jsonl").read_text(encoding="utf-8"))["label"] in LABELS
    with Path("out.csv").open(newline="", encoding="utf-8") as stream:
        row = next(csv.DictReader(stream))
    assert row["label"] in LABELS
    assert {f"probability_{label}" for label in LABELS} < set(row)
    assert rdrop.json("evaluate", "run", "--split", "validation")["labels"] == sorted(LABELS)
