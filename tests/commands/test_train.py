"""`rdrop train` as a user meets it."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from rdrop_cli.core.training import set_up
from rdrop_cli.core.training.callbacks import ObserveTraining


def test_json_is_one_document_with_the_promised_keys(trained):
    promised = {"run_dir", "checkpoint", "metrics", "train", "alpha", "seed"}
    assert set(trained) == promised | {"columns", "labels", "left_out", "export", "export_error"}
    assert (trained["export"], trained["export_error"]) == (None, None)
    assert trained["columns"] == {"text": "text", "label": "label", "text_pair": None}
    assert trained["left_out"] == {
        "rows": {"all": 200}, "rejected": {}, "unlabelled": {}, "crossing": 0, "passed_over": [],
    }  # fmt: skip
    assert set(trained["metrics"]) == {"train", "validation", "test"}
    assert set(trained["train"]) == {"seconds", "examples_per_second", "steps", "planned_steps", "resumed_from_step"}
    assert (trained["alpha"], trained["seed"]) == (1.0, 42)
    assert trained["metrics"]["validation"]["accuracy"] > 0.8
    assert Path(trained["checkpoint"], "model.safetensors").is_file()


def test_the_end_shows_the_table_the_run_folder_and_the_next_command(rdrop, reviews, tiny_args):
    shown = rdrop("train", reviews, "--alpha", "1", *tiny_args).stdout
    lines = shown.splitlines()
    assert any("R-Drop, alpha 1 (cross-entropy mean; the paper's alpha 2)" in line for line in lines)
    assert any(line.startswith("epoch 0.30  step 3/60  loss ") and "KL share" in line for line in lines)
    assert sum("validation: accuracy" in line for line in lines) == 6
    rows = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    assert rows == ["train", "validation", "test"] * 2, "metrics, then probabilities"
    assert lines[-3] == "Run folder: runs/reviews-tiny-bert-alpha1-seed42"
    assert lines[-2] == "Next: rdrop report runs/reviews-tiny-bert-alpha1-seed42"
    assert lines[-1] == 'Next: rdrop predict --checkpoint runs/reviews-tiny-bert-alpha1-seed42 "some text"'


def test_a_prepared_folder_trains_as_its_source_does(rdrop, reviews, tiny_args, trained):
    prepared = rdrop.json("prepare", reviews, "--out", "mine", *tiny_args[:4])["prepared"]
    again = rdrop.json("train", prepared, "--alpha", "1", *tiny_args)
    assert again["metrics"] == trained["metrics"]


def test_the_seed_changes_training_but_not_the_split(rdrop, reviews, tiny_args, trained):
    other = rdrop.json("train", reviews, "--alpha", "1", "--seed", "7", *tiny_args)
    records = [json.loads(Path(run["run_dir"], "data.json").read_text()) for run in (trained, other)]
    assert records[0]["fingerprint"] == records[1]["fingerprint"]
    assert trained["metrics"]["train"]["nll"] != other["metrics"]["train"]["nll"]


def test_alpha_zero_is_said_to_be_plain(rdrop, reviews, tiny_args):
    assert (
        "Loss   plain fine-tuning (alpha 0), label smoothing 0.1"
        in rdrop("train", reviews, "--alpha", "0", *tiny_args).stdout
    )


def test_class_weights_are_shown_and_recorded(rdrop, reviews, tiny_args):
    weights = "train.class_weights={1: 3, 0: 1}"
    shown = rdrop("train", reviews, *tiny_args, "--set", weights, "--epochs", "1", "--out", "run").stdout
    assert "\n       Class weights: 0 0.5, 1 1.5 (as given, scaled to a mean of 1 over the examples)\n" in shown
    assert json.loads(Path("run/best/rdrop.json").read_text())["class_weights"] == {"0": 0.5, "1": 1.5}
    assert "class weights `1` 3, `0` 1," in Path("run/best/README.md").read_text()


def test_class_weights_for_other_classes_are_refused_before_the_model_is_loaded(rdrop, reviews, tiny_args, monkeypatch):
    monkeypatch.setattr(set_up, "load_classifier", lambda *_, **__: pytest.fail("loaded the model"))
    line = rdrop.error("train", reviews, *tiny_args, "--set", "train.class_weights={0: 1, 2: 3}")
    assert line == ("error: train.class_weights: no class '2'; the classes are '0', '1'. Use the names of the classes.")
    assert not list(Path("runs").glob("*"))


def test_an_existing_run_is_not_overwritten(rdrop, reviews, tiny_args, trained):
    message = rdrop.error("train", reviews, *tiny_args, "--out", trained["run_dir"])
    assert f"{trained['run_dir']}: already exists. Give another --out, or --overwrite to replace it." in message
    again = rdrop.json("train", reviews, "--alpha", "1", *tiny_args)
    assert again["run_dir"] == trained["run_dir"] + "-2"


@pytest.fixture
def interrupted(rdrop, reviews, tiny_args, monkeypatch):
    """The error line of a training that got Ctrl-C at its fourth step."""

    def press(self, args, state, control, **_):
        if state.global_step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ObserveTraining, "on_step_end", press)
    line = rdrop.error("train", reviews, "--alpha", "1", *tiny_args, code=130)
    monkeypatch.undo()
    monkeypatch.chdir(reviews.parent)
    return line


def test_an_interrupted_run_is_resumed_by_the_printed_command(rdrop, interrupted, tiny_args, reviews):
    assert interrupted.startswith("Stopped at step 4 of 60 and saved. ")
    command = interrupted.partition("Resume with: rdrop ")[2].split()
    assert command == ["train", "--resume", "--out", "runs/reviews-tiny-bert-alpha1-seed42"]
    resumed = rdrop.json(*command, "--no-export")
    whole = rdrop.json("train", reviews, "--alpha", "1", *tiny_args)
    assert resumed["metrics"] == whole["metrics"]
    assert "this run has already finished" in rdrop.error(*command)


def test_resume_without_a_name_takes_the_newest_unfinished_run(rdrop, interrupted):
    assert rdrop.json("train", "--resume", "--no-export")["run_dir"] == "runs/reviews-tiny-bert-alpha1-seed42"


def test_resuming_with_another_configuration_is_refused_with_the_difference(rdrop, interrupted):
    message = rdrop.error("train", "--resume", "--alpha", "3")
    assert "rdrop.alpha: 1.0 -> 3.0" in message


def test_nothing_to_resume(rdrop, tmp_path):
    assert "no unfinished run found in runs/" in rdrop.error("train", "--resume")
    assert "no run to resume in this folder" in rdrop.error("train", "--resume", "--out", "gone")


def test_a_dry_run_forecasts_and_leaves_nothing(rdrop, reviews, tiny_args):
    found = rdrop.json("train", reviews, "--dry-run", *tiny_args)
    assert found["steps"] == 60
    assert found["seconds"] > 0
    assert found["peak_memory_bytes"] > 10**6
    assert not Path("runs").exists()
    assert "Forecast: " in rdrop("train", reviews, "--dry-run", *tiny_args).stdout


def test_micro_batches_change_memory_only(rdrop, reviews, tiny_args, trained):
    off = ("model.config.hidden_dropout_prob=0.0", "model.config.attention_probs_dropout_prob=0.0")
    no_dropout = [part for setting in (*off, "rdrop.allow_zero_dropout=true") for part in ("--set", setting)]
    runs = [rdrop.json("train", reviews, *tiny_args, *no_dropout, "--micro-batch-size", size) for size in ("16", "4")]
    assert runs[0]["metrics"]["validation"]["nll"] == pytest.approx(runs[1]["metrics"]["validation"]["nll"], rel=1e-3)


def test_a_missing_column_is_found_before_the_model_is_loaded(rdrop, reviews):
    message = rdrop.error("train", reviews, "--text-column", "review")
    assert "no column 'review'; found 'text', 'label'" in message
    assert not Path("prepared").exists()


def test_one_class_without_validation_examples_is_refused(rdrop, tmp_path, tiny_args):
    rows = "".join(f"the movie was {i},{int(i < 2)}\n" for i in range(60))
    (tmp_path / "few.csv").write_text("text,label\n" + rows)
    assert "the validation split has no example of class '1'" in rdrop.error("train", "few.csv", *tiny_args)


def test_a_device_can_be_named_and_is_checked_first(rdrop, reviews, tiny_args, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert rdrop.json("train", reviews, "--device", "cpu", *tiny_args[:-4], "--epochs", "1")["run_dir"]
    assert "device cuda:1: no CUDA GPU found" in rdrop.error("train", reviews, "--device", "cuda:1", *tiny_args)
    assert "train.device must be auto, cpu, cuda, cuda:N or mps" in rdrop.error("train", "--device", "tpu")


def test_a_training_that_stops_early_says_so(rdrop, reviews, tiny_args):
    small = ["--epochs", "6", "--lr", "1e-9", "--set", "train.early_stopping.patience=2"]
    shown = " ".join(rdrop("train", reviews, *tiny_args, *small).stdout.split())
    said = "Stopped early, at step 30 of 60: validation f1 had not improved by 0.01 in 2 epochs (train.early_stopping)"
    assert said in shown
