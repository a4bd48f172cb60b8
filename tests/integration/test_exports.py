"""Families of models by their ONNX export: equal to PyTorch, or refused with the cause. Tiny, with random weights."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from conftest import BAD, GOOD, NEUTRAL
from families import make_classifier
from rdrop_cli.core.exporting import graph
from rdrop_cli.core.exporting.export import text_input
from rdrop_cli.core.inference.backends.onnx import OnnxBackend
from rdrop_cli.core.inference.backends.torch import TorchBackend
from rdrop_cli.core.inference.classifier import Classifier
from rdrop_cli.core.runs.checkpoint import Checkpoint
from rdrop_cli.core.runs.onnx_export import FLOAT32, OnnxExport
from rdrop_cli.errors import ModelError

BERT_STYLE = {"special": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}
ROBERTA_STYLE = {"special": ["<pad>", "<unk>", "<s>", "</s>"], "pair": "<s> $A </s> </s> $B </s>"}
"""RoBERTa and its like compute position ids from the padding id, which is 1."""
PADDING_ID = {"roberta": 1, "xlm-roberta": 1, "camembert": 1, "mpnet": 1}
NO_SEGMENTS = ("distilbert", "modernbert", "llama")
LONGEST = 24


def make_tokenizer(family: str, side: str) -> PreTrainedTokenizerFast:
    """A tokenizer with what the family's real ones do: special tokens and their ids, segments, truncation side."""
    style = ROBERTA_STYLE if family in PADDING_ID else BERT_STYLE
    pad, unk, begin, end = style["special"]
    special = [begin, pad, end, unk] if family in PADDING_ID else style["special"]
    words = [*special, *GOOD, *BAD, *NEUTRAL]
    inner = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=unk))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", pair=style["pair"],
        special_tokens=[(begin, words.index(begin)), (end, words.index(end))],
    )  # fmt: skip
    has_segments = family not in (*NO_SEGMENTS, *PADDING_ID)
    names = ["input_ids", *(["token_type_ids"] if has_segments else []), "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=pad, unk_token=unk, cls_token=begin, sep_token=end,
        model_input_names=names, truncation_side=side,
    )  # fmt: skip


def load(family: str, classes: int, folder: Path, side: str = "right") -> TorchBackend:
    labels = {index: f"class {index}" for index in range(classes)}
    model = make_classifier(family, id2label=labels, pad_token_id=PADDING_ID.get(family, 0))
    model.save_pretrained(folder)
    make_tokenizer(family, side).save_pretrained(folder)
    card = {"max_length": LONGEST, "batch_size": 4}
    return TorchBackend(Checkpoint(str(folder), None, card), precision="float32", device="cpu")


def export(backend: TorchBackend, folder: Path) -> OnnxBackend:
    (folder / "onnx").mkdir()
    names = graph.input_names(backend)
    graph.write_float32(backend, names, folder / "onnx" / FLOAT32)
    made = OnnxExport(folder / "onnx", {}, text_input(backend, names), backend.labels.names, {})
    return OnnxBackend(made)


def texts_of(lengths: list[int], seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(GOOD + BAD + NEUTRAL, k=length)) for length in lengths]


TEXTS = texts_of([1, 3, 9, 4, 22, 40, 5, 2, 30, 7], seed=1)
PAIRS = texts_of([2, 1, 5, 40, 3, 30, 5, 9, 2, 1], seed=2)
INPUTS = {
    "mixed lengths": (TEXTS, None),
    "pairs": (TEXTS, PAIRS),
    "alone": (TEXTS[:1], None),
    "one pair": (TEXTS[2:3], PAIRS[2:3]),
    "cut off": (TEXTS[5:6], None),
}


@pytest.mark.parametrize(
    ("family", "classes", "side"),
    [
        ("albert", 6, "right"),
        ("bert", 2, "left"),
        ("camembert", 2, "right"),
        ("deberta-v2", 6, "right"),
        ("distilbert", 6, "left"),
        ("electra", 2, "right"),
        ("llama", 2, "right"),
        ("modernbert", 6, "right"),
        ("mpnet", 6, "right"),
        ("roberta", 6, "left"),
        ("xlm-roberta", 2, "right"),
    ],
)
def test_an_export_gives_the_probabilities_of_pytorch(family, classes, side, tmp_path):
    backend = load(family, classes, tmp_path, side)
    expected, found = Classifier(backend), Classifier(export(backend, tmp_path))
    assert len(found.labels) == classes
    for name, (texts, pairs) in INPUTS.items():
        theirs, ours = (each.probabilities(each.encode(texts, pairs)) for each in (expected, found))
        assert np.abs(theirs - ours).max() < 1e-4, name
        if len(texts) > 1:
            assert theirs.std(axis=0).max() > 1e-3, "the model tells texts apart, so that a mistake would show"


def test_a_model_that_cannot_be_exported_is_refused_in_a_line_and_still_predicts(tmp_path, capfd):
    backend = load("longformer", 2, tmp_path)
    with pytest.raises(ModelError, match=r"^the model cannot be exported to ONNX \(.+\)$") as error:
        export(backend, tmp_path)
    assert "\n" not in str(error.value)
    assert "def forward" not in capfd.readouterr().err
    classifier = Classifier(backend)
    assert np.isfinite(classifier.probabilities(classifier.encode(TEXTS))).all()


def test_a_model_to_which_no_segments_are_other_than_zeros_is_refused(tmp_path):
    backend = load("bert", 2, tmp_path)
    forward = backend.model.forward

    def told_apart(input_ids, attention_mask=None, token_type_ids=None):
        output = forward(input_ids=input_ids, attention_mask=attention_mask)
        output.logits = output.logits + (0 if token_type_ids is None else torch.tensor([1.0, 0.0]))
        return output

    backend.model.forward = told_apart
    with pytest.raises(ModelError, match="segment ids of 0 change this model's logits"):
        graph.input_names(backend)
