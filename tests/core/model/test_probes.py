"""What tries of a model tell: inputs made up for it, how long they may be, and whether padding matters to it."""

from functools import partial

import pytest
import torch
from transformers import AutoTokenizer

from families import make_classifier
from rdrop_cli.core.model import probes
from rdrop_cli.core.model.collator import make_collator


@pytest.fixture
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def collate(tokenizer):
    return make_collator(tokenizer, make_classifier("bert"))


def test_made_up_rows_are_ordinary_words_between_special_tokens(tokenizer):
    rows = probes.made_up(tokenizer, make_classifier("bert"), [9, 5], segments=True)
    first, second = rows[0], rows[1]
    assert (len(first["input_ids"]), len(second["input_ids"])) == (9, 5)
    for row in (first, second):
        ids = list(row["input_ids"])
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert not set(ids[1:-1]) & set(tokenizer.all_special_ids)
    assert list(first["input_ids"])[1:5] != list(second["input_ids"])[1:5]
    assert list(first["token_type_ids"]) == [0, 0, 0, 0, 0, 1, 1, 1, 1]


OFFSET = ["roberta", "mpnet", "data2vec-text", "ibert", "esm", "camembert", "longformer"]


@pytest.mark.parametrize(("family", "usable"), [*((family, 38) for family in OFFSET), ("bert", 40), ("gpt2", 40)])
def test_the_longest_input_is_what_the_model_takes(family, usable, tokenizer, collate):
    """Some count positions from behind the padding index: of 40 with padding index 1, 38 can be used."""
    model = make_classifier(family, pad_token_id=1)
    assert probes.usable_length(model, tokenizer, collate, 40) == usable
    assert probes.usable_length(model, tokenizer, collate, 20) == 20
    run = partial(probes.batch_of, collate=collate)
    model(**run(probes.made_up(tokenizer, model, [usable])))
    with pytest.raises((IndexError, RuntimeError)):
        model(**run(probes.made_up(tokenizer, model, [usable + 1])))


@pytest.mark.parametrize(
    ("family", "depends"),
    [("convbert", True), ("mobilebert", True), ("fnet", True), ("bert", False), ("gpt2", False), ("t5", False)],
)
def test_models_whose_logits_change_with_padding_are_found(family, depends, tokenizer):
    if family == "fnet":
        tokenizer.model_input_names = ["input_ids", "token_type_ids"]
    model = make_classifier(family, pad_token_id=0)
    with torch.no_grad():
        model.get_input_embeddings().weight[0] = 0.5  # a trained padding embedding is not zero
    assert probes.depends_on_padding(model, tokenizer, make_collator(tokenizer, model)) is depends


@pytest.mark.parametrize(("family", "wrong"), [("gpt2", "left"), ("xlnet", "right")])
def test_padding_on_the_wrong_side_is_found(family, wrong, tokenizer):
    """GPT-2 counts positions from the padding on; XLNet reads the last token, whatever it is."""
    model = make_classifier(family, pad_token_id=0)
    for side in ("left", "right"):
        tokenizer.padding_side = side
        assert probes.depends_on_padding(model, tokenizer, make_collator(tokenizer, model)) is (side == wrong)


def test_a_pass_gives_the_encoders_output_and_the_logits(tokenizer, collate):
    model = make_classifier("bert")
    batch = probes.batch_of(probes.made_up(tokenizer, model, [6, 12]), collate)
    hidden, logits = probes.run(model, batch)
    assert torch.equal(logits, model(**batch).logits)
    assert torch.equal(hidden, model.bert(**batch).last_hidden_state)
