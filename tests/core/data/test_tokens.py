"""Token ids are those of the tokenizer, whatever else is computed on the way."""

import importlib.util
import random
import shutil

import numpy as np
import pytest

from conftest import make_reviews
from rdrop_cli.core.data import tokens as encoding
from rdrop_cli.core.data.tokens import TokenDataset, encode, tokenizer_fingerprint
from rdrop_cli.core.model.tokenizer import load_tokenizer
from rdrop_cli.errors import ModelError

TEXTS = [text for text, _ in make_reviews(40)]


@pytest.fixture
def tokenizer(tiny_model):
    return load_tokenizer(str(tiny_model), max_length=8)


@pytest.mark.parametrize("pairs", [None, TEXTS[::-1]])
def test_truncation_is_the_tokenizers_own(tokenizer, pairs):
    tokens = encode(tokenizer, TEXTS, pairs, max_length=8)
    expected = tokenizer(TEXTS, pairs, truncation=True, max_length=8)
    for index in range(len(TEXTS)):
        features = tokens.features(index)
        assert features["input_ids"].tolist() == expected["input_ids"][index]
        if pairs is not None:
            assert features["token_type_ids"].tolist() == expected["token_type_ids"][index]


def test_full_lengths_are_those_before_truncation(tokenizer):
    tokens = encode(tokenizer, TEXTS, None, max_length=8)
    assert tokens.full_lengths.tolist() == [len(text.split()) + 2 for text in TEXTS]
    assert tokens.lengths.max() == 8


def test_type_ids_of_single_texts_are_left_to_the_model(tokenizer):
    assert encode(tokenizer, TEXTS, None, max_length=8).type_ids is None


def test_the_fingerprint_does_not_depend_on_calls_before(tokenizer, tiny_model):
    before = tokenizer_fingerprint(tokenizer)
    tokenizer(TEXTS, truncation=True, max_length=5, padding="max_length")
    assert tokenizer_fingerprint(tokenizer) == before
    tokenizer.add_tokens(["unheard"])
    assert tokenizer_fingerprint(tokenizer) != before


def test_by_length_is_a_permutation_longest_first(tokenizer):
    tokens = encode(tokenizer, TEXTS, None, max_length=64)
    dataset = TokenDataset(tokens, np.arange(len(TEXTS)))
    ordered = dataset.by_length()
    assert (np.diff(ordered.lengths) <= 0).all()
    assert sorted(ordered.targets.tolist()) == list(range(len(TEXTS)))
    assert all(len(ordered[i]["input_ids"]) == ordered.lengths[i] for i in range(len(TEXTS)))


def test_a_sample_is_drawn_without_replacement(tokenizer):
    dataset = TokenDataset(encode(tokenizer, TEXTS, None, max_length=8), np.arange(len(TEXTS)))
    assert len(set(dataset.sample(10, seed=0).targets.tolist())) == 10
    assert dataset.sample(1000, seed=0) is dataset


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"tokenizer .* cannot be loaded"):
        load_tokenizer(str(tmp_path), max_length=8)


def test_the_starters_own_padding_and_truncation_are_removed():
    from rdrop_cli.core.storage import starter

    tokenizer = load_tokenizer(str(starter.model_folder()), max_length=512)
    tokens = encode(tokenizer, ["short", "word " * 300], None, max_length=512)
    assert tokens.lengths.tolist() == [3, 302]


@pytest.mark.parametrize("count_all", [True, False])
def test_a_very_long_text_is_encoded_in_pieces_with_the_same_tokens(tokenizer, monkeypatch, count_all):
    rng = random.Random(0)
    texts = [" ".join(rng.choices(["great", "dull", "movie", "x" * 30], k=k)) for k in (2000, 3, 500, 1)]
    texts += ["x" * 5000 + " great", "great  " * 900, "", " ".join(["x" * 150] * 20)]
    whole = encode(tokenizer, texts, None, max_length=8, count_all=count_all)
    monkeypatch.setattr(encoding, "_PIECE", 200)
    monkeypatch.setattr(encoding, "_CHUNK_CHARACTERS", 3000)
    pieces = encode(tokenizer, texts, None, max_length=8, count_all=count_all)
    for name in ("ids", "offsets", "full_lengths"):
        assert getattr(whole, name).tolist() == getattr(pieces, name).tolist(), name


def test_texts_are_chunked_by_number_and_by_characters(monkeypatch):
    monkeypatch.setattr(encoding, "_CHUNK", 3)
    monkeypatch.setattr(encoding, "_CHUNK_CHARACTERS", 10)
    texts = ["a", "b", "c", "d" * 50, "e", "f" * 9, "g" * 9]
    spans = list(encoding._chunks(texts, None))
    assert [texts[span] for span in spans] == [["a", "b", "c"], ["d" * 50], ["e", "f" * 9], ["g" * 9]]
    assert list(encoding._chunks([], None)) == []


def test_a_sentencepiece_model_without_its_package_names_the_package(tiny_model, tmp_path, monkeypatch):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tiny_model / name, tmp_path)
    (tmp_path / "spm.model").write_bytes(b"\x0a\x07\x0a\x05[PAD]")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "DebertaV2Tokenizer"}')
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: real(name) if name != "sentencepiece" else None)
    with pytest.raises(ModelError, match=r"sentencepiece model.*pip install 'rdrop-cli\[sentencepiece\]'"):
        load_tokenizer(str(tmp_path), max_length=8)
