"""Families of models by the command line, as users meet them: tiny, with random weights, in `auto`."""

import json

import pytest
import torch

from conftest import make_reviews, write_csv
from families import FAMILIES, save_encoder
from rdrop_cli.core.comparison import plot as picture
from rdrop_cli.core.model.device import pick_precision

NO_DROPOUT = ("eurobert", "gemma2", "llama", "modernbert", "qwen2")
"""Their own configuration has none."""
HEAD_ONLY = ("rembert",)
PADDING_MATTERS = ("convbert", "fnet", "xlnet")
"""XLNet does with a tokenizer that pads on the right, as here."""
NO_BFLOAT16 = ("deberta",)
COMPARED = ("bert", "convbert", "llama", "t5")
"""Forecasts and comparisons train each model as `train` does, so one of each kind is enough."""
OPTIONS = [
    "--alpha", "1", "--max-length", "24", "--batch-size", "16", "--epochs", "1", "--lr", "1e-2",
    "--set", "train.tensorboard=false",
]  # fmt: skip
TEXTS = ["a great movie", "the plot was dull and it seemed the actors with some film"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_evaluates_and_predicts(family, rdrop, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "can_plot", lambda: False)  # a third of the time, and no matter of models
    reviews = write_csv(tmp_path / "reviews.csv", make_reviews(64))
    arguments = [reviews, "--model", save_encoder(family, tmp_path / family, tiny_model), *OPTIONS]
    if family in NO_DROPOUT:
        message = rdrop.error("train", *arguments)
        assert "no dropout (two training passes are equal)" in message
        assert "--set model.config.attention_dropout=0.1" in message
        arguments += ["--set", "model.config.attention_dropout=0.1"]

    result = rdrop("train", *arguments, "--no-export", "--json")
    run = json.loads(result.stdout)
    falls_back = family in NO_BFLOAT16 and pick_precision("auto", torch.device("cpu")) == "bfloat16"
    assert ("so float32 is used" in result.stderr) == falls_back
    assert ("predictions change with padding" in result.stderr) == (family in PADDING_MATTERS)
    assert ("Only the classification head has dropout" in result.stderr) == (family in HEAD_ONLY)
    assert "kernels" not in result.stderr

    assert rdrop.json("evaluate", run["run_dir"])["metrics"] == run["metrics"]["test"]
    together = rdrop.json("predict", *TEXTS)["predictions"]
    alone = rdrop.json("predict", TEXTS[0])["predictions"]
    assert together[0]["probabilities"] == pytest.approx(alone[0]["probabilities"], abs=1e-2)

    if family in COMPARED:
        assert rdrop.json("train", *arguments, "--dry-run")["steps"] == run["train"]["steps"]
        compared = rdrop.json("compare", *arguments, "--arms", "rdrop,rdrop+smoothing", "--seeds", "1")
        assert list(compared["arms"]) == ["rdrop", "rdrop+smoothing"]
