"""The last layer cut down to the first token: the same logits and gradients for less work."""

import copy

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from rdrop_cli.core.model.fast_path import accelerate_training
from rdrop_cli.core.model.first_token import use_first_token_only

SMALL = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
FAMILIES = {
    "bert": (BertForSequenceClassification, BertConfig),
    "roberta": (RobertaForSequenceClassification, RobertaConfig),
    "electra": (ElectraForSequenceClassification, ElectraConfig),
}
IDS = torch.randint(5, 50, (3, 11), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(11)[None] < torch.tensor([11, 6, 2])[:, None]
LABELS = torch.tensor([0, 1, 1])


def build(family):
    torch.manual_seed(0)
    model_class, config_class = FAMILIES[family]
    return model_class(config_class(**SMALL, initializer_range=0.2)).eval()


def run(model):
    model.zero_grad()
    logits = model(input_ids=IDS, attention_mask=MASK.long()).logits
    torch.nn.functional.cross_entropy(logits, LABELS).backward()
    return logits, {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_every_gradient_stay_the_same(family):
    model = build(family)
    cut = copy.deepcopy(model)

    assert use_first_token_only(cut)

    (logits, grads), (cut_logits, cut_grads) = run(model), run(cut)
    torch.testing.assert_close(cut_logits, logits, rtol=1e-5, atol=1e-6)
    for name, grad in grads.items():
        torch.testing.assert_close(cut_grads[name], grad, rtol=1e-4, atol=1e-7, msg=name)


def test_the_last_layer_computes_one_token():
    model = build("bert")
    use_first_token_only(model)
    shapes = []
    model.bert.encoder.layer[-1].output.register_forward_hook(lambda module, inputs, out: shapes.append(out.shape))
    run(model)

    assert shapes == [(3, 1, 32)]


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_changes_nothing(family):
    model = build(family).train()
    accelerate_training(model)
    torch.manual_seed(1)
    _, grads = run(model)
    model.activation_checkpointing_enable()
    torch.manual_seed(1)
    _, again = run(model)

    for name, grad in grads.items():
        torch.testing.assert_close(again[name], grad, msg=name)


def test_a_head_that_reads_every_token_keeps_its_layer_whole():
    class MeanPooled(BertForSequenceClassification):
        def forward(self, **inputs):
            out = super().forward(**inputs)
            hidden = self.bert(**inputs).last_hidden_state
            out.logits = self.classifier(hidden.mean(dim=1))
            return out

    torch.manual_seed(0)
    model = MeanPooled(BertConfig(**SMALL, initializer_range=0.2))

    assert not use_first_token_only(model)
    assert "forward" not in vars(model.bert.encoder.layer[-1])


def test_models_of_another_build_are_left_alone():
    config = DistilBertConfig(vocab_size=50, dim=32, n_layers=1, n_heads=2, hidden_dim=64)

    assert not use_first_token_only(DistilBertForSequenceClassification(config))


def test_what_is_saved_knows_nothing_of_it(tmp_path):
    model = build("roberta")
    expected, _ = run(model)
    accelerate_training(model)
    model.save_pretrained(tmp_path)
    loaded = RobertaForSequenceClassification.from_pretrained(tmp_path).eval()

    assert "rdrop" not in (tmp_path / "config.json").read_text()
    assert torch.equal(run(loaded)[0], expected)


def test_gradient_checkpointing_reaches_the_last_layer():
    """Every layer computes its keys twice: once forward, once again for its gradient."""
    model = build("bert").train()
    accelerate_training(model)
    model.activation_checkpointing_enable()
    counts = [0, 0]

    def counting(index):
        def count(*_):
            counts[index] += 1

        return count

    for index, layer in enumerate(model.bert.encoder.layer):
        layer.attention.self.key.register_forward_hook(counting(index))
    run(model)
    assert "forward" in vars(model.bert.encoder.layer[-1])
    assert counts == [2, 2]
