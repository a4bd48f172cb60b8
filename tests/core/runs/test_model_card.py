"""The model card is what the hub's own library reads back, whatever names its data brings."""

import subprocess
import sys

import pytest
from huggingface_hub import ModelCard

from rdrop_cli.config import load_config
from rdrop_cli.core.runs.calibration import Calibration
from rdrop_cli.core.runs.model_card import model_card

TEST = {"accuracy": 0.91, "f1": 0.9, "roc_auc": None, "precision": 0.9, "recall": 0.9, "mcc": 0.8, "nll": 0.3}
VALIDATION = {**TEST, "accuracy": 0.95, "roc_auc": 0.97}


def card(model="starter", data="imdb", labels=("negative", "positive"), metrics=None):
    record = {"source": {"name": data}, "splits": {"train": 8, "test": 2}, "fingerprint": "abc"}
    config = load_config("starter", [("model.name", model), ("data.source", data)])
    return ModelCard(model_card(config, labels, record, metrics or {}))


@pytest.mark.parametrize(
    ("calibration", "line"),
    [
        (None, None),
        (Calibration(reason="a < b"), "* Probabilities are raw, without a temperature: a \\< b"),
        (
            Calibration(1.23456, in_head=True, examples=1852),
            "* Probabilities are calibrated: temperature 1.235, contained in the weights, fitted on 1,852 validation"
            " examples; slightly optimistic, since validation also chose the epoch. The table is about the raw ones",
        ),
        (
            Calibration(0.5, examples=60),
            "* Probabilities are calibrated: temperature 0.5, in rdrop.json, applied by rdrop only, fitted on 60"
            " validation examples; slightly optimistic, since validation also chose the epoch. The table is about the"
            " raw ones",
        ),
    ],
)
def test_the_temperature_is_said(calibration, line):
    record = {"source": {"name": "imdb"}, "splits": {"train": 8}, "fingerprint": "abc"}
    lines = model_card(load_config("starter"), ("a", "b"), record, {}, calibration=calibration).splitlines()
    assert [found for found in lines if "Probabilities" in found] == ([line] if line else [])


def results(parsed):
    return {(result.metric_type, result.metric_value) for result in parsed.data.eval_results}


def test_a_card_without_metrics_says_what_the_model_is_and_is_made_of():
    parsed = card()
    assert parsed.data.to_dict() == {
        "base_model": "sentence-transformers/all-MiniLM-L6-v2",
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["r-drop", "text-classification"],
    }
    assert "# `starter` fine-tuned on `imdb`" in parsed.text


def test_class_weights_are_as_configured():
    record = {"source": {"name": "imdb"}, "splits": {"train": 8}, "fingerprint": "abc"}
    for chosen, said in (
        ("balanced", "label smoothing 0.1, class weights balanced, 2 epochs"),
        ({"a_b": 1, "<c>": 2.5}, "class weights `a_b` 1, `<c>` 2.5, 2 epochs"),
        ("none", "label smoothing 0.1, 2 epochs"),
    ):
        config = load_config("starter", [("train.class_weights", chosen)])
        assert said in model_card(config, ("a_b", "<c>"), record, {})


def test_the_results_are_those_of_test():
    parsed = card(metrics={"validation": VALIDATION, "test": TEST})
    assert results(parsed) == {("accuracy", 0.91), ("f1", 0.9)}  # ROC-AUC is not defined there
    assert {result.dataset_split for result in parsed.data.eval_results} == {"test"}
    assert {result.dataset_name for result in parsed.data.eval_results} == {"imdb"}
    assert parsed.data.eval_results[1].metric_name == "F1, positive class 'positive'"


def test_without_a_test_split_they_are_those_of_validation():
    parsed = card(metrics={"validation": VALIDATION})
    assert results(parsed) == {("accuracy", 0.95), ("f1", 0.9), ("roc_auc", 0.97)}
    assert {result.dataset_split for result in parsed.data.eval_results} == {"validation"}


def test_a_model_and_data_from_the_hub_are_named_by_their_ids():
    data = card("FacebookAI/roberta-base", "nyu-mll/glue:sst2", metrics={"test": TEST}).data
    assert (data.base_model, data.datasets) == ("FacebookAI/roberta-base", ["nyu-mll/glue"])
    assert {(result.dataset_type, result.dataset_config) for result in data.eval_results} == {("nyu-mll/glue", "sst2")}


def test_a_model_and_data_from_folders_are_not_taken_for_ids(tmp_path):
    for folder in ("models/mine", "data/mine"):
        (tmp_path / folder).mkdir(parents=True)
    data = card("models/mine", "data/mine", metrics={"test": TEST}).data
    assert (data.base_model, data.datasets) == (None, None)
    assert data.eval_results[0].dataset_name == "mine"
    assert data.model_name == "mine fine-tuned on mine"


def test_the_folders_of_this_machine_are_not_named():
    text = card("/home/me/models/small", "/home/me/data/reviews.csv", metrics={"test": TEST}).content
    assert "# `small` fine-tuned on `reviews.csv`" in text
    assert "/home" not in text


@pytest.mark.parametrize("name", ["a: #b", "x\n---\ny", "- [x]", "'\"", "\u2028---\x85", "{a: b}", "no", "💡"])
def test_names_from_the_data_do_not_break_its_head(name, tmp_path):
    parsed = card(f"./{name}", f"/data/{name}.csv", (name, "other"), {"test": TEST})
    shown = "".join(character if character.isprintable() else " " for character in name)
    assert parsed.data.tags == ["r-drop", "text-classification"]
    assert parsed.data.eval_results[0].dataset_name == f"{shown}.csv"
    assert "Trained with rdrop" in parsed.text
    parsed.save(tmp_path / "README.md")
    assert ModelCard.load(tmp_path / "README.md").data.to_dict() == parsed.data.to_dict()


def test_the_hub_s_library_is_loaded_only_for_a_card():
    code = "import sys, rdrop_cli.core.runs.model_card; sys.exit('huggingface_hub' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
