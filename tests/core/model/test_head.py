"""The last layer of the head in float32, found in models of every kind."""

import copy

import pytest
import torch
from torch.nn import functional
from transformers import AutoTokenizer

from families import FAMILIES, make_classifier
from rdrop_cli.core.model import probes
from rdrop_cli.core.model.collator import make_collator
from rdrop_cli.core.model.head import keep_head_in_float32


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


def batch_for(model, tokenizer, family):
    tokenizer.model_input_names = ["input_ids"] if family == "fnet" else ["input_ids", "attention_mask"]
    return probes.batch_of(probes.made_up(tokenizer, model, [6, 12]), make_collator(tokenizer, model))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_head_is_found_and_computed_in_float32(family, tokenizer):
    model = make_classifier(family, pad_token_id=0)
    batch = batch_for(model, tokenizer, family)
    plain = copy.deepcopy(model)
    assert keep_head_in_float32(model, batch)
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, plain(**batch).logits)  # nothing changes without autocast
    if family == "deberta":
        return  # its attention cannot be computed in bfloat16
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(**batch).logits
        rounded = plain(**batch).logits
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())
    torch.testing.assert_close(logits, rounded.float(), rtol=0.05, atol=0.05)


def test_the_heads_input_is_what_it_was_and_dropout_draws_the_same(tokenizer):
    """In training under autocast: only the last product changes."""
    plain = make_classifier("bert", pad_token_id=0).train()
    model = copy.deepcopy(plain)
    batch = batch_for(plain, tokenizer, "bert")
    keep_head_in_float32(model, batch)
    seen = []
    for each in (plain, model):
        each.classifier.register_forward_hook(lambda linear, inputs, out: seen.append((inputs[0], out)))
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            each(**batch)
    (before, _), (now, out) = seen
    assert torch.equal(before, now)
    assert torch.equal(out, functional.linear(now.float(), model.classifier.weight, model.classifier.bias))


def test_gradients_reach_every_parameter_of_the_head(tokenizer):
    model = make_classifier("bert", pad_token_id=0)
    batch = batch_for(model, tokenizer, "bert")
    keep_head_in_float32(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(**batch).logits.square().sum().backward()
    assert model.classifier.weight.grad.abs().sum() > 0
    assert model.bert.pooler.dense.weight.grad.abs().sum() > 0


def test_a_model_without_such_a_layer_is_left_alone(tokenizer):
    model = make_classifier("bert", pad_token_id=0)
    batch = batch_for(model, tokenizer, "bert")
    stock = model.forward

    def doubled(**inputs):
        out = stock(**inputs)
        out.logits = out.logits * 2
        return out

    model.forward = doubled
    assert not keep_head_in_float32(model, batch)
