"""A temperature in a model's weights divides its logits, whatever the head; where no layer can, nothing changes."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification

from families import FAMILIES, WITHOUT_MASK, make_classifier
from rdrop_cli.core.model.head_scaling import divide_in_files, divided, scaling_weights

IDS = torch.tensor([[2, 5, 6, 7, 8, 9, 10, 3], [2, 15, 16, 17, 18, 3, 0, 0]])
T = 1.37


def batch_for(family):
    return {"input_ids": IDS} if family in WITHOUT_MASK else {"input_ids": IDS, "attention_mask": (IDS > 0).long()}


def make(family):
    model = make_classifier(family)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = 0
    return model


def logits_of(model, batch):
    with torch.no_grad():
        return model(**batch).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_layer_that_scales_its_logits(family):
    model, batch = make(family), batch_for(family)
    before = logits_of(model, batch)
    weights = scaling_weights(model, batch)
    assert weights
    with divided(weights, T):
        assert torch.allclose(logits_of(model, batch) * T, before, rtol=1e-5, atol=1e-6)
    assert torch.equal(logits_of(model, batch), before)


@pytest.mark.parametrize("family", ["bert", "bart", "gpt2", "t5", "xlnet"])
def test_a_model_loaded_from_changed_files_gives_divided_logits(family, tmp_path):
    model, batch = make(family), batch_for(family)
    for value in scaling_weights(model, batch).values():
        nn.init.normal_(value)  # biases begin as zeros
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    raw = {name: value for path in tmp_path.glob("*.safetensors") for name, value in load_file(path).items()}
    weights = scaling_weights(model, batch)
    assert divide_in_files(tmp_path, weights, T)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.allclose(logits_of(again, batch) * T, logits_of(model, batch), rtol=1e-5, atol=1e-6)
    now = {name: value for path in tmp_path.glob("*.safetensors") for name, value in load_file(path).items()}
    assert {name for name in raw if not torch.equal(raw[name], now[name])} == set(weights)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert all((tmp_path / name).is_file() for name in index.values())
    assert not list(tmp_path.glob("*.changed"))


class Head(nn.Module):
    """A head that does something to the outputs of its linear layer."""

    def __init__(self, end, out=2):
        super().__init__()
        self.linear, self.end = nn.Linear(16, out), end

    def forward(self, hidden):
        return self.end(self.linear(hidden))


@pytest.mark.parametrize(
    "end", [nn.Tanh(), nn.LayerNorm(2), nn.Softmax(-1), nn.Linear(2, 2)], ids=lambda end: type(end).__name__
)
def test_a_head_is_judged_by_what_it_does(end):
    model = make("bert")
    model.classifier = Head(end)
    found = scaling_weights(model, batch_for("bert"))
    assert set(found) == ({"classifier.end.weight", "classifier.end.bias"} if isinstance(end, nn.Linear) else set())


def test_a_layer_without_effect_and_logits_of_zero_show_nothing():
    model = make("bert")
    model.other = nn.Linear(16, 2)
    assert set(scaling_weights(model, batch_for("bert"))) == {"classifier.weight", "classifier.bias"}
    nn.init.zeros_(model.classifier.weight)
    nn.init.zeros_(model.classifier.bias)
    assert scaling_weights(model, batch_for("bert")) == {}


def test_weights_with_two_names_are_never_changed():
    model = make_classifier("bert", num_labels=28)
    assert scaling_weights(model, batch_for("bert"))
    model.classifier.weight = model.get_input_embeddings().weight
    assert scaling_weights(model, batch_for("bert")) == {}
    model.classifier.weight = nn.Parameter(model.get_input_embeddings().weight.data)  # another tensor, the same memory
    assert scaling_weights(model, batch_for("bert")) == {}


@pytest.mark.parametrize("change", ["half", "renamed", "other"])
def test_files_with_other_tensors_stay_as_they_are(change, tmp_path):
    model = make("bert")
    weights = scaling_weights(model, batch_for("bert"))
    if change == "half":
        model.half().save_pretrained(tmp_path)
        weights = {name: value.float() for name, value in weights.items()}
    else:
        model.save_pretrained(tmp_path)
    if change == "renamed":
        weights = {f"model.{name}": value for name, value in weights.items()}
    elif change == "other":
        weights = {name: value + 1 for name, value in weights.items()}
    before = (tmp_path / "model.safetensors").read_bytes()
    assert not divide_in_files(tmp_path, weights, T)
    assert (tmp_path / "model.safetensors").read_bytes() == before
