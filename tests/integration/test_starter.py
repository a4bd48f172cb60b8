"""The real starter: its encoder, its reviews, the commands in a row."""

import csv
import json

import pytest

from conftest import write_csv
from rdrop_cli.config import load_config
from rdrop_cli.core.data.prepare import read_and_split
from rdrop_cli.core.data.sources import open_source
from rdrop_cli.core.storage import starter

COLUMNS = ["--set", "train.tensorboard=false", "--epochs", "2", "--lr", "2e-4", "--alpha", "5"]


@pytest.fixture
def real_reviews(tmp_path):
    """600 Rotten Tomatoes sentences."""
    rows = []
    with starter.reviews_file().open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["source"] == "rotten_tomatoes":
                rows.append((row["text"], starter.LABEL_NAMES[int(row["label"])]))
    return write_csv(tmp_path / "rt.csv", rows[:300] + rows[-300:])


def test_train_evaluate_predict(rdrop, real_reviews):
    run = rdrop.json("train", real_reviews, "--no-export", *COLUMNS)
    assert run["metrics"]["test"]["roc_auc"] > 0.75
    measured, expected = rdrop.json("evaluate", run["run_dir"])["metrics"], run["metrics"]["test"]
    assert set(measured) == set(expected)
    for name, value in expected.items():  # the temperature has been written into the head: its last digits are rounded
        assert measured[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), name
    good, bad = rdrop.json("predict", "great movie", "a dull, lifeless mess")["predictions"]
    assert good["probabilities"]["positive"] > bad["probabilities"]["positive"]


def test_the_checkpoint_is_an_ordinary_transformers_one(rdrop, real_reviews):
    from transformers import pipeline

    run = rdrop.json(
        "train", real_reviews, "--alpha", "1", "--epochs", "1", "--no-export", "--set", "train.tensorboard=false"
    )
    texts = ["great movie", "a dull, lifeless mess", "<br />long " * 300, ""]
    ours = rdrop.json("predict", *texts, "--precision", "float32")["predictions"]
    pipe = pipeline("text-classification", model=run["checkpoint"], top_k=None)
    for item, theirs in zip(ours, pipe(texts, truncation=True), strict=True):
        assert {each["label"]: pytest.approx(each["score"], abs=1e-4) for each in theirs} == item["probabilities"]


def test_files_that_are_not_the_pinned_ones_are_refused(rdrop, monkeypatch):
    monkeypatch.setattr(starter, "_REVIEWS_SHA256", "0" * 64)
    assert "the starter data is not the expected version (its SHA-256 differs)" in rdrop.error("prepare")


def test_without_the_extra_the_command_that_installs_it_is_said(rdrop, monkeypatch):
    monkeypatch.setattr(starter, "_package_folder", lambda _: None)
    assert "pip install 'rdrop-cli[starter]'" in rdrop.error("train")


def test_a_built_in_data_set_is_named_by_its_labels(rdrop, tiny_model):
    found = rdrop.json("prepare", "--model", tiny_model)
    assert found["labels"] == ["negative", "positive"]
    assert found["splits"] == {"train": 6826, "validation": 852, "test": 852}
    assert json.dumps(found["report"]["rejected"]) == "0"


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("rotten-tomatoes", "4e0dce8f81c5cde8880c07947b965f2d80d9ac4a0f205ab270a342a008a79658"),
        ("imdb", "1009cbfb2d796474b1aa3f3d5a3a055846407b54d6d74aa9938855a7b2ac8719"),
    ],
)
def test_the_splits_of_the_built_in_data_are_those_of_version_0_1(name, fingerprint):
    """So that results stay comparable: texts, classes and splits, bit for bit."""
    config = load_config("starter", [("data.source", name)])
    data = read_and_split(open_source(name), config.data, on_progress=lambda *_: None)
    assert data.fingerprint == fingerprint
