"""Batches equal those of transformers' collator, and have no mask where nothing is padded and a model needs none."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, DataCollatorWithPadding

from rdrop_cli.core.data.tokens import TokenDataset, encode
from rdrop_cli.core.model.collator import make_collator, needs_mask
from rdrop_cli.core.model.fast_path import accelerate_training
from rdrop_cli.core.model.tokenizer import load_tokenizer

TEXTS = ["the movie was great", "dull", "a lovely warm funny plot with some actors", "it seemed tired"]
PAIRS = ["fine", "the film was boring and awful", "cold", "clever"]
SIZES = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


def build(kind, **settings):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model(kind, **(SIZES | {"max_position_embeddings": 64, "pad_token_id": 0} | settings))
    )
    accelerate_training(model)
    return model


@pytest.fixture
def tokenizer(tiny_model):
    return load_tokenizer(str(tiny_model), max_length=32)


def dataset_of(tokenizer, pairs):
    return TokenDataset(encode(tokenizer, TEXTS, pairs, max_length=32), np.arange(len(TEXTS)))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pairs", [None, PAIRS])
@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [1, 0], [2]])
def test_batches_are_those_of_transformers_collator(tokenizer, side, pairs, rows):
    tokenizer.padding_side, tokenizer.pad_token, tokenizer._pad_token_type_id = side, "tired", 1
    data = dataset_of(tokenizer, pairs)
    features = [data[row] for row in rows]
    lists = [{name: np.asarray(value).tolist() for name, value in feature.items()} for feature in features]
    expected = DataCollatorWithPadding(tokenizer)(lists)
    found = make_collator(tokenizer, build("convbert"))(features)

    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


def test_only_a_batch_with_padding_has_a_mask(tokenizer):
    data = dataset_of(tokenizer, None)
    collate = make_collator(tokenizer, build("bert"))

    assert "attention_mask" not in collate([data[0], data[0]])
    assert "attention_mask" in collate([data[0], data[1]])


def test_a_tokenizer_whose_models_know_no_mask_gives_none(tokenizer):
    tokenizer.model_input_names = ["input_ids", "token_type_ids"]
    data = dataset_of(tokenizer, None)

    assert "attention_mask" not in make_collator(tokenizer, build("convbert"))([data[0], data[1]])


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
def test_an_encoder_on_our_attention_does_without_and_keeps_its_results(kind):
    model = build(kind)
    ids = torch.tensor([[2, 5, 6, 7, 3]])

    assert not needs_mask(model)
    assert torch.equal(model.eval()(ids).logits, model(ids, attention_mask=torch.ones_like(ids)).logits)


def test_a_model_with_an_attention_of_its_own_keeps_its_mask():
    assert needs_mask(build("convbert"))
    assert needs_mask(build("deberta-v2"))


def test_a_decoder_that_looks_at_its_input_instead_keeps_its_mask():
    settings = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64, "vocab_size": 60, "pad_token_id": 0}
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model("gpt2", **settings))
    accelerate_training(model)

    assert needs_mask(model)


def test_the_trial_leaves_model_and_random_state_alone():
    model = build("bert").train()
    before = torch.get_rng_state()
    needs_mask(model)

    assert model.training
    assert torch.equal(before, torch.get_rng_state())


def test_a_model_that_answers_otherwise_without_a_mask_keeps_it():
    model = build("bert")
    inner = model.forward

    def forward(attention_mask=None, **inputs):
        outputs = inner(attention_mask=attention_mask, **inputs)
        outputs.logits = outputs.logits + (attention_mask is None)
        return outputs

    model.forward = forward
    assert needs_mask(model)
