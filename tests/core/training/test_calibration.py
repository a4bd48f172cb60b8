"""The temperature of a finished run: what it is fitted on, where it is kept, and that a kill does not change it."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import pipeline

from conftest import make_noisy_reviews, write_csv
from rdrop_cli.config import load_recorded
from rdrop_cli.core.inference.backends.choice import open_classifier
from rdrop_cli.core.metrics.calibration import at_temperature, calibrated_metrics
from rdrop_cli.core.metrics.classification import classification_metrics
from rdrop_cli.core.model import head_scaling
from rdrop_cli.core.runs.best_model import save_best
from rdrop_cli.core.runs.checkpoint import find_checkpoint
from rdrop_cli.core.runs.outputs import load_predictions
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.training import calibration
from rdrop_cli.core.training import result as training_result
from rdrop_cli.core.training.observer import Observer
from rdrop_cli.core.training.run import TrainingRun
from training_runs import harm

TEXTS = ["great movie", "a dull plot", "the actors seemed tired and it was a fine film", "some film"]


def card(run):
    return json.loads((run / "best/rdrop.json").read_text())


def metrics(run):
    return json.loads((run / "metrics.json").read_text())


def raw_best(run):
    """The folder's best model as it was before it was calibrated."""
    step = card(run)["step"]
    return load_file(run / f"checkpoints/checkpoint-{step}/model.safetensors")


class Notices(Observer):
    def __init__(self):
        self.said = []

    def notice(self, message):
        self.said.append(message)


@pytest.fixture
def run(calibrated_run, tmp_path):
    return shutil.copytree(calibrated_run, tmp_path / "run")


def unfinished(run):
    (run / "metrics.json").unlink()
    return run


def resume(run, **options):
    return TrainingRun(load_recorded(run / "config.yaml"), run, resume=True, **options).start()


def fitted_by_lbfgs(labels, probabilities):
    logits, truth = torch.from_numpy(np.log(probabilities)), torch.from_numpy(labels)
    scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scale], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(logits * scale.exp(), truth)
        value.backward()
        return value

    optimizer.step(loss)
    return float(torch.exp(-scale.detach()))


def test_the_temperature_is_that_of_another_fit_on_the_raw_validation_predictions(calibrated_run):
    found = card(calibrated_run)["calibration"]
    validation = load_predictions(calibrated_run, "validation")
    assert found == {"temperature": found["temperature"], "in_head": True, "examples": 120, "reason": None}
    assert found["temperature"] == pytest.approx(fitted_by_lbfgs(validation.labels, validation.probabilities), abs=1e-4)
    assert abs(found["temperature"] - 1) > 0.05, "or these tests show little"


def test_the_records_hold_raw_values_and_those_at_the_temperature(calibrated_run):
    temperature = card(calibrated_run)["calibration"]["temperature"]
    for split in ("validation", "test"):
        raw = load_predictions(calibrated_run, split)
        expected = classification_metrics(raw.labels, raw.probabilities)
        expected |= calibrated_metrics(raw.labels, raw.probabilities, temperature)
        assert metrics(calibrated_run)[split] == expected
    assert metrics(calibrated_run)["train"]["temperature"] == temperature
    assert expected["nll_calibrated"] != expected["nll"]


def test_only_the_last_layer_of_best_is_divided(calibrated_run):
    temperature = card(calibrated_run)["calibration"]["temperature"]
    before, after = raw_best(calibrated_run), load_file(calibrated_run / "best/model.safetensors")
    assert before.keys() == after.keys()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        "classifier.weight", "classifier.bias"
    }  # fmt: skip
    for name in ("classifier.weight", "classifier.bias"):
        assert torch.equal(after[name], (before[name].double() / temperature).float())
    assert integrity.damage(calibrated_run / "best") is None


def test_every_tool_gives_the_calibrated_probabilities(rdrop, run):
    classifier = open_classifier(find_checkpoint(str(run)))
    data = TrainingRun(load_recorded(run / "config.yaml"), run, resume=True).set_up().datasets["test"]
    raw = load_predictions(run).probabilities
    calibrated = classifier.probabilities(data)
    assert np.abs(calibrated - at_temperature(raw, classifier.temperature)).max() < 1e-6
    assert np.abs(at_temperature(calibrated, 1 / classifier.temperature) - raw).max() < 1e-6
    sure = np.abs(np.log(raw[:, 0] / raw[:, 1])) > 1e-5
    assert (calibrated.argmax(axis=1) == raw.argmax(axis=1))[sure].all()

    rdrop("export", run)
    served = pipeline("text-classification", str(run / "best"), top_k=None)
    for options in (["--precision", "float32"], ["--backend", "onnx"]):
        found = rdrop.json("predict", *TEXTS, "--checkpoint", run, *options)["predictions"]
        for one, expected in zip(found, served(TEXTS), strict=True):
            scores = {item["label"]: item["score"] for item in expected}
            assert one["probabilities"] == pytest.approx(scores, abs=1e-4)


class Killed(BaseException):
    """As SIGKILL: nothing of rdrop's runs after it."""


def kill_before(monkeypatch, module, name):
    def killed(*_, **__):
        raise Killed

    monkeypatch.setattr(module, name, killed)


@pytest.mark.parametrize(
    ("module", "name"),
    [(calibration, "fit_temperature"), (calibration, "record_calibration"), (training_result, "save_outputs")],
    ids=["before the fit", "before the weights change", "after the weights have changed"],
)
def test_a_run_killed_around_its_calibration_ends_as_if_left_in_peace(run, calibrated_run, monkeypatch, module, name):
    unfinished(run)
    with monkeypatch.context() as patched:
        kill_before(patched, module, name)
        with pytest.raises(Killed):
            resume(run)
    assert ("calibration" in card(run)) == (name == "save_outputs")
    resume(run)
    assert metrics(run) == metrics(calibrated_run)
    for name in ("rdrop.json", "model.safetensors", "README.md"):
        assert (run / "best" / name).read_bytes() == (calibrated_run / "best" / name).read_bytes(), name
    for split in ("validation", "test"):
        found, expected = (load_predictions(folder, split).probabilities for folder in (run, calibrated_run))
        assert np.array_equal(found, expected)


def test_resumed_from_an_earlier_checkpoint_a_calibrated_best_model_is_replaced(run, calibrated_run):
    unfinished(run)
    newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
    harm(newest / "model.safetensors")
    assert resume(run).first_step > 0
    assert metrics(run) == metrics(calibrated_run)
    best = [load_file(folder / "best/model.safetensors") for folder in (run, calibrated_run)]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[1])


def test_a_calibrated_best_model_counts_as_lost_where_its_checkpoint_is_damaged(run):
    unfinished(run)
    harm(run / f"checkpoints/checkpoint-{card(run)['step']}" / "model.safetensors")
    notices = Notices()
    before = raw_best(run)
    resume(run, observer=notices)
    assert any("is skipped" in line for line in notices.said)
    temperature = card(run)["calibration"]["temperature"]
    after = load_file(run / "best/model.safetensors")["classifier.weight"]
    expected = (raw_best(run)["classifier.weight"].double() / temperature).float()
    assert torch.equal(after, expected), "divided once"
    assert before.keys() == raw_best(run).keys()


def assert_only_rdrop_applies_it(run, notices, reason):
    (said,) = (line for line in notices.said if "only rdrop applies it" in line)
    assert reason in said
    found = card(run)["calibration"]
    assert (found["in_head"], found["reason"], found["examples"]) == (False, None, 120)
    before, after = raw_best(run), load_file(run / "best/model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert integrity.damage(run / "best") is None


def test_where_no_layer_scales_the_logits_rdrop_applies_the_temperature(rdrop, run, calibrated_run, monkeypatch):
    monkeypatch.setattr(calibration, "scaling_weights", lambda model, batch: {})
    notices = Notices()
    resume(unfinished(run), observer=notices)
    assert_only_rdrop_applies_it(run, notices, "no layer of its own scales the logits")
    assert "only rdrop applies it" in rdrop("evaluate", run).stdout
    found, expected = (
        rdrop.json("predict", *TEXTS, "--checkpoint", folder)["predictions"] for folder in (run, calibrated_run)
    )
    for one, other in zip(found, expected, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
    found, other = (rdrop.json("evaluate", folder)["metrics"] for folder in (run, calibrated_run))
    assert found == {name: pytest.approx(value, abs=1e-6) for name, value in other.items() if name[0] != "p"} | {
        name: found[name] for name in ("per_class", "precision")
    }


def test_a_changed_model_that_gives_other_probabilities_is_not_kept(run, monkeypatch):
    def spoil(folder, weights, divisor):
        stored = load_file(folder / "model.safetensors")
        save_file({**stored, "classifier.bias": stored["classifier.bias"] + torch.tensor([0.0, 0.1])}, folder / "x")
        (folder / "x").replace(folder / "model.safetensors")
        return True

    monkeypatch.setattr(calibration, "divide_in_files", spoil)
    notices = Notices()
    resume(unfinished(run), observer=notices)
    assert_only_rdrop_applies_it(run, notices, "the changed model")


def test_a_changed_model_that_cannot_be_loaded_is_not_kept(run, monkeypatch):
    def spoil(folder, weights, divisor):
        (folder / "config.json").write_text("{}")
        return head_scaling.divide_in_files(folder, weights, divisor)

    monkeypatch.setattr(calibration, "divide_in_files", spoil)
    notices = Notices()
    resume(unfinished(run), observer=notices)
    assert_only_rdrop_applies_it(run, notices, "the changed model cannot be loaded")
    assert json.loads((run / "best/config.json").read_text())["id2label"]


def test_too_few_validation_examples_are_said_and_recorded(config, tmp_path):
    notices = Notices()
    result = TrainingRun(config(), tmp_path / "run", observer=notices).start()
    reason = "20 validation examples are too few (at least 50)"
    assert notices.said[-1] == f"Probabilities are not calibrated: {reason}"
    expected = {"temperature": 1.0, "in_head": False, "examples": 20, "reason": reason}
    assert card(tmp_path / "run")["calibration"] == expected
    found = result.metrics["test"]
    assert (found["nll_calibrated"], found["temperature"]) == (pytest.approx(found["nll"]), 1.0)


def test_without_calibration_best_is_the_checkpoint_and_the_values_are_null(config, tmp_path, run):
    source = str(write_csv(tmp_path / "noisy.csv", make_noisy_reviews(400)))
    settings = config(**{"data.source": source, "data.validation": 0.3, "train.calibrate": "none", "train.epochs": 1})
    result = TrainingRun(settings, tmp_path / "none").start()
    assert "calibration" not in card(tmp_path / "none")
    best = load_file(tmp_path / "none/best/model.safetensors")
    assert all(torch.equal(value, best[name]) for name, value in raw_best(tmp_path / "none").items())
    keys = ("nll_calibrated", "brier_calibrated", "ece_calibrated", "temperature")
    assert [result.metrics["test"][key] for key in keys] == [None] * 4


def test_a_run_of_an_earlier_version_is_resumed_and_evaluated_without_a_temperature(rdrop, run):
    ready = TrainingRun(load_recorded(run / "config.yaml"), run, resume=True).set_up()
    save_best(run / f"checkpoints/checkpoint-{card(run)['step']}", ready.config, ready.data, run / "best")
    recorded = (run / "config.yaml").read_text()
    assert "calibrate: temperature" in recorded
    (run / "config.yaml").write_text(
        "\n".join(line for line in recorded.splitlines() if "calibrate:" not in line) + "\n"
    )
    found = rdrop.json("evaluate", run)["metrics"]
    assert (found["nll"], found["temperature"]) == (pytest.approx(metrics(run)["test"]["nll"]), None)
    unfinished(run)
    said = rdrop.error("train", "--resume", "--out", run, "--set", "train.calibrate=temperature")
    assert "must keep its configuration, but this changed: train.calibrate: none -> temperature" in said
    rdrop("train", "--resume", "--out", run, "--no-export")
    assert "calibration" not in card(run)
    assert metrics(run)["test"]["temperature"] is None
