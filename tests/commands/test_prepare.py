"""`rdrop prepare` as a user meets it."""

import json
from pathlib import Path

from conftest import make_reviews, write_csv


def test_the_report_and_the_next_command(rdrop, reviews, tiny_model):
    shown = rdrop("prepare", reviews, "--model", tiny_model, "--max-length", "8").stdout
    assert "Repeats of an earlier text: 0 rows" in shown
    assert "No text is in two splits" in shown
    assert "texts cut at 8" in shown
    last = shown.splitlines()[-1]
    assert last.startswith("Next: rdrop train prepared/reviews-")
    assert last.endswith(f" --model {tiny_model} --max-length 8 --alpha 5")


def test_a_rare_class_is_pointed_out(rdrop, reviews, tmp_path, tiny_model):
    rows = [row for index, row in enumerate(make_reviews(200)) if row[1] == 0 or index % 10 == 1]
    rare = write_csv(tmp_path / "rare.csv", rows)
    assert "Rare in train: '1' 16.7% of the examples. " in rdrop("prepare", rare, "--model", tiny_model).stdout
    assert "Rare" not in rdrop("prepare", reviews, "--model", tiny_model).stdout


def test_json_has_the_report(rdrop, reviews, tiny_model):
    found = rdrop.json("prepare", reviews, "--model", tiny_model, "--max-length", "8")
    assert found["splits"] == {"train": 160, "validation": 20, "test": 20}
    assert found["labels"] == ["0", "1"]
    assert found["report"]["classes"]["test"] == {"0": 10, "1": 10}
    assert 0 < found["report"]["tokens"]["splits"]["train"]["lost"] < 1


def test_shares_can_be_chosen(rdrop, reviews, tiny_model):
    found = rdrop.json("prepare", reviews, "--model", tiny_model, "--validation", "0.2", "--test", "0")
    assert found["splits"] == {"train": 160, "validation": 40}
    shown = rdrop("prepare", reviews, "--model", tiny_model, "--validation", "0").stdout
    assert "There is no validation split: its share is 0" in shown
    assert shown.splitlines()[-1].startswith("Training needs a validation split")
    assert "must leave something" in rdrop.error("prepare", reviews, "--validation", "0.5", "--test", "0.5")


def test_rejected_rows_are_shown_and_kept(rdrop, tmp_path, tiny_model):
    rows = [*make_reviews(40), ("", 1), ("no label", "")]
    path = write_csv(tmp_path / "x.csv", rows)
    shown = rdrop("prepare", path, "--model", tiny_model).stdout
    assert "Rejected: 2 rows, all listed in" in shown
    assert "line 42: text is empty" in shown
    folder = Path(shown.splitlines()[-1].split()[3])
    assert [json.loads(line)["line"] for line in (folder / "rejected.jsonl").read_text().splitlines()] == [42, 43]
    assert "2 unusable rows (--strict)" in rdrop.error("prepare", path, "--strict", "--out", "never")
    assert not Path("never").exists()


def test_the_old_name_of_the_default_is_still_taken(rdrop, reviews, tiny_model):
    command = ["prepare", reviews, "--model", tiny_model, "--no-strict"]
    assert rdrop.json(*command)["splits"]["test"] == 20
    assert "--no-strict" not in rdrop("prepare", "--help").stdout


def test_an_earlier_preparation_with_rejected_rows_does_not_satisfy_strict(rdrop, tmp_path, tiny_model):
    path = write_csv(tmp_path / "x.csv", [*make_reviews(40), ("", 1)])
    shown = rdrop("prepare", path, "--model", tiny_model).stdout
    assert "rdrop train asks for --allow-rejects" in shown
    assert "--allow-rejects" in shown.splitlines()[-1]
    assert "1 of 41 rows (2%) cannot be used" in rdrop.error("train", path, "--model", tiny_model)
    assert "1 unusable rows (--strict)" in rdrop.error("prepare", path, "--model", tiny_model, "--strict")


def test_pairs(rdrop, tmp_path, tiny_args, tiny_model):
    rows = [(text, label, "a movie") for text, label in make_reviews(100)]
    path = write_csv(tmp_path / "p.csv", rows, header=("text", "label", "text_b"))
    shown = rdrop("train", path, "--text-pair-column", "text_b", "--out", "run", *tiny_args).stdout
    run = "run"
    assert shown.splitlines()[-1] == "Next: rdrop evaluate run"
    assert rdrop.json("evaluate", run)["examples"] == 10
    assert rdrop.json("evaluate", run, path)["examples"] == 100
    assert len(rdrop.json("predict", "--input", path, "--checkpoint", run)["predictions"]) == 100
    assert "this checkpoint classifies pairs" in rdrop.error("predict", "one text", "--checkpoint", run)
    lone = write_csv(tmp_path / "lone.csv", make_reviews(5))
    assert "no column 'text_b'" in rdrop.error("predict", "--input", lone, "--checkpoint", run)


def test_a_sample_of_train_is_said(rdrop, reviews, tiny_args):
    shown = rdrop("prepare", reviews, "--train-examples", "40", *tiny_args[:2]).stdout
    assert "Left out of train: 120 examples, as a sample was asked for" in shown
    found = rdrop.json("train", reviews, "--train-examples", "40", *tiny_args, "--epochs", "1")
    assert found["metrics"]["train"]["examples"] == 40
    assert rdrop.error("train", reviews, "--train-examples", "1").startswith("error: command line: data.train_examples")
