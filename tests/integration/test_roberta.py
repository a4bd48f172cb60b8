"""The reference recipe, with a small RoBERTa and its own byte-level tokenizer, on built-in IMDb reviews."""

import csv
import json
import os
import shutil
import subprocess
import sys
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import write_csv
from hub_server import serving
from rdrop_cli.core.storage import starter


@pytest.fixture(scope="module")
def imdb_rows():
    """160 IMDb reviews, half of each class."""
    with starter.reviews_file().open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["source"] == "imdb"]
    chosen = [list(islice((row for row in rows if row["label"] == label), 80)) for label in "01"]
    return [(row["text"], row["label"]) for part in chosen for row in part]


@pytest.fixture(scope="module")
def small_roberta(imdb_rows, tmp_path_factory):
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

    folder = tmp_path_factory.mktemp("roberta") / "small-roberta"
    folder.mkdir()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator((text for text, _ in imdb_rows), vocab_size=1000, special_tokens=special)
    trained.save_model(str(folder))
    tokenizer = RobertaTokenizerFast.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=514,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        type_vocab_size=1,
    )
    RobertaModel(config).save_pretrained(folder)
    return folder


def test_the_reference_recipe_end_to_end(rdrop, imdb_rows, small_roberta, tmp_path):
    """512 tokens need all of RoBERTa's 514 positions; labels, truncation and tokenizer survive the round trip."""
    from transformers import pipeline

    data = write_csv(tmp_path / "imdb.csv", imdb_rows)
    run = rdrop.json(
        "train", data, "--config", "imdb-roberta", "--model", small_roberta, "--epochs", "2", "--no-export"
    )
    assert (run["alpha"], run["seed"]) == (5.0, 42)
    assert run["train"]["steps"] == 2 * 8
    assert rdrop.json("evaluate", run["run_dir"])["metrics"] == run["metrics"]["test"]
    texts = [text for text, _ in imdb_rows[:8]] + ["word " * 2000]
    ours = rdrop.json("predict", *texts, "--precision", "float32")["predictions"]
    pipe = pipeline("text-classification", model=run["checkpoint"], top_k=None)
    for item, theirs in zip(ours, pipe(texts, truncation=True), strict=True):
        assert {each["label"]: pytest.approx(each["score"], abs=1e-5) for each in theirs} == item["probabilities"]


def test_one_token_more_than_the_positions_is_refused(rdrop, imdb_rows, small_roberta, tmp_path):
    data = write_csv(tmp_path / "imdb.csv", imdb_rows)
    message = rdrop.error("train", data, "--model", small_roberta, "--max-length", "513")
    assert "model.max_length 513 exceeds the model's 512 positions" in message


CARD = """---
dataset_info:
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': neg
          '1': pos
configs:
- config_name: default
  data_files:
  - {split: train, path: train.parquet}
  - {split: test, path: test.parquet}
  - {split: unsupervised, path: unsupervised.parquet}
---
"""


@pytest.fixture
def hub(imdb_rows, small_roberta, tmp_path):
    """A folder that holds both repositories of the reference recipe, in small."""
    root = tmp_path / "hub"
    shutil.copytree(small_roberta, root / "models" / "FacebookAI" / "roberta-base")
    folder = root / "datasets" / "stanfordnlp" / "imdb"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    rows = [(text, int(label)) for text, label in imdb_rows]
    parts = {"train": rows[::2] + rows[1::4], "test": rows[3::4], "unsupervised": [(text, -1) for text, _ in rows[:9]]}
    for name, part in parts.items():
        table = pa.table({"text": [text for text, _ in part], "label": [label for _, label in part]})
        pq.write_table(table, folder / f"{name}.parquet")
    return root


def test_the_reference_recipe_from_a_mirror_and_then_from_the_cache(hub, tmp_path):
    """As it is, but for one epoch: both repositories are fetched, and later not asked for again."""
    command = [
        sys.executable,
        "-m",
        "rdrop_cli",
        "train",
        "--config",
        "imdb-roberta",
        "--epochs",
        "1",
        "--no-export",
        "--json",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment["HF_HOME"] = str(tmp_path / "cache")

    def run(endpoint):
        done = subprocess.run(
            [*command, "--set", f"hub.endpoint={endpoint}"], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    with serving(hub) as endpoint:
        fetched = run(endpoint)
        assert fetched["metrics"]["test"]["examples"] == 40
        missing = [*command[:3], "predict", "text", "--checkpoint", "nobody/nothing"]
        done = subprocess.run(missing, env={**environment, "HF_ENDPOINT": endpoint}, capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "model nobody/nothing: not found on the hub" in done.stderr
    cached = run("http://127.0.0.1:9")
    assert cached["metrics"] == fetched["metrics"]
