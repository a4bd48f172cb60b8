"""The step that is tried before a training: what fails on the device or in the precision is replaced, and said."""

import pytest
import torch
from transformers import BertForSequenceClassification
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from families import save_encoder
from rdrop_cli.config import load_config
from rdrop_cli.core.inference.backends.choice import open_classifier
from rdrop_cli.core.model import trial
from rdrop_cli.core.model.attention import NAME, attention_forward
from rdrop_cli.core.runs.checkpoint import find_checkpoint
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.training import set_up
from rdrop_cli.core.training.observer import Observer
from rdrop_cli.core.training.run import TrainingRun
from rdrop_cli.errors import ConfigError, ModelError, TrainingInterrupted
from training_runs import SignalAt


class Hears(Observer):
    def __init__(self):
        self.said = []

    def notice(self, message):
        self.said.append(message)


@pytest.fixture
def save(tmp_path, tiny_model):
    return lambda family, **settings: str(save_encoder(family, tmp_path / family, tiny_model, **settings))


@pytest.mark.parametrize(
    ("family", "usable"), [("roberta", 39), ("mpnet", 38), ("data2vec-text", 39), ("ibert", 39), ("esm", 39)]
)
def test_positions_that_cannot_be_used_are_not_counted(config, save, family, usable, tmp_path):
    """They count from behind the padding's index: the tokenizer's, 0 here, but for MPNet, where it is always 1."""
    settings = config(**{"model.name": save(family), "model.max_length": 40})
    refused = rf"model.max_length 40 exceeds the model's {usable} positions. Use --max-length {usable} or less"
    with pytest.raises(ConfigError, match=refused):
        TrainingRun(settings, tmp_path / "run").set_up()
    fits = config(**{"model.name": save(family), "model.max_length": usable, "train.epochs": 1})
    assert TrainingRun(fits, tmp_path / "run").start().steps


def test_a_precision_that_fails_falls_back_and_is_recorded(config, save, tmp_path, rdrop):
    """DeBERTa's attention cannot be computed in bfloat16; evaluation and a resumed run compute as training did."""
    run = tmp_path / "run"
    settings = config(**{"model.name": save("deberta"), "train.precision": "bfloat16"})
    hears = Hears()
    training = TrainingRun(settings, run, observer=hears)
    assert (training.set_up().precision, len(hears.said)) == ("float32", 1)
    assert "bfloat16 does not work for this model on CPU" in hears.said[0]
    assert "so float32 is used" in hears.said[0]

    with pytest.raises(TrainingInterrupted):
        TrainingRun(settings, run, observer=SignalAt(4)).start()
    assert load_config(str(run / "config.yaml")).train.precision == "float32"
    assert read_record(run)["fallbacks"] == {"train.precision": "bfloat16"}
    rdrop(
        "train",
        "--resume",
        "--out",
        run,
        "--no-export",
        "--precision",
        "bfloat16",
        "--set",
        f"model.name={settings.model.name}",
    )
    assert read_record(run)["fallbacks"] == {"train.precision": "bfloat16"}
    assert rdrop.json("evaluate", run)["precision"] == "float32"
    hears = []
    assert (
        open_classifier(find_checkpoint(str(run)), precision="bfloat16", notice=hears.append).backend.precision
        == "float32"
    )
    assert "bfloat16 does not work" in hears[0]


def other_results(module, query, key, value, mask, **kwargs):
    out, weights = attention_forward(module, query, key, value, mask, **kwargs)
    return out * 1.5, weights


def no_kernel(module, query, key, value, mask, **kwargs):
    raise RuntimeError("no kernel for this device")


@pytest.mark.parametrize(
    ("kernel", "cause"), [(other_results, "give different results"), (no_kernel, "no kernel for this device")]
)
def test_kernels_that_fail_or_differ_give_way_to_the_stock_ones(config, tmp_path, monkeypatch, kernel, cause):
    """They pass when the model is prepared in float32, and fail where it will run."""
    plain = TrainingRun(config(**{"train.fast": False, "train.epochs": 1}), tmp_path / "plain").start()
    real = trial.settle_training

    def settle(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, NAME, kernel)
            return real(*arguments)

    monkeypatch.setattr(trial, "settle_training", settle)
    hears, run = Hears(), tmp_path / "run"
    training = TrainingRun(config(**{"train.epochs": 1}), run, observer=hears)
    ready = training.set_up()
    assert any("fast kernels" in message and cause in message for message in hears.said)
    assert ready.model.config._attn_implementation == "sdpa"
    assert not ready.config.train.fast
    result = training.start()
    assert result.metrics.keys() == plain.metrics.keys()
    assert not load_config(str(run / "config.yaml")).train.fast
    assert read_record(run)["fallbacks"] == {"train.fast": True}


def test_a_trial_leaves_no_trace(config, tmp_path, monkeypatch):
    """Neither in the weights, nor in their gradients, nor in the random state."""
    seen = {}
    real = set_up.try_first_step

    def watched(model, *args, **kwargs):
        seen["weights"] = {name: value.clone() for name, value in model.state_dict().items()}
        seen["state"] = torch.get_rng_state()
        found = real(model, *args, **kwargs)
        assert torch.equal(seen["state"], torch.get_rng_state())
        return found

    monkeypatch.setattr(set_up, "try_first_step", watched)
    model = TrainingRun(config(), tmp_path / "run").set_up().model
    assert all(torch.equal(value, seen["weights"][name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training


def test_a_trial_is_as_long_and_as_wide_as_training_can_be(config, tmp_path, monkeypatch):
    shapes = []
    real = BertForSequenceClassification.forward

    def forward(model, *args, **inputs):
        shapes.append((tuple(inputs["input_ids"].shape), model.training))
        return real(model, *args, **inputs)

    monkeypatch.setattr(BertForSequenceClassification, "forward", forward)
    TrainingRun(config(**{"model.max_length": 57}), tmp_path / "run").set_up()
    assert ((2, 57), True) in shapes
    shapes.clear()
    settings = config(**{"model.max_length": 57, "rdrop.alpha": 0.0, "train.micro_batch_size": 1})
    TrainingRun(settings, tmp_path / "run").set_up()
    assert ((1, 57), True) in shapes


def test_too_little_memory_for_one_long_row_says_what_to_make_smaller(config, tmp_path, monkeypatch):
    real = BertForSequenceClassification.forward

    def forward(model, *args, **inputs):
        if model.training and inputs["input_ids"].shape[1] == 50:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(model, *args, **inputs)

    monkeypatch.setattr(BertForSequenceClassification, "forward", forward)
    with pytest.raises(ModelError, match=r"out of memory on CPU.*smaller --max-length"):
        TrainingRun(config(**{"model.max_length": 50}), tmp_path / "run").set_up()


def test_a_model_that_fails_in_every_way_is_named_with_the_cause(config, tmp_path, monkeypatch):
    real = BertForSequenceClassification.forward

    def forward(model, *args, **inputs):
        if model.training and inputs["input_ids"].shape[1] == 50:
            raise RuntimeError("this operation is not there")
        return real(model, *args, **inputs)

    monkeypatch.setattr(BertForSequenceClassification, "forward", forward)
    with pytest.raises(ModelError, match=r"the model fails on CPU.*this operation is not there"):
        TrainingRun(config(**{"model.max_length": 50, "train.precision": "bfloat16"}), tmp_path / "run").set_up()
