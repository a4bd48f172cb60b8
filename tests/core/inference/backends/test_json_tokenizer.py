"""tokenizer.json alone gives the token ids that Transformers' tokenizer gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import BAD, GOOD, NEUTRAL
from rdrop_cli.core.data.tokens import encode
from rdrop_cli.core.inference.backends.json_tokenizer import JsonTokenizer
from rdrop_cli.core.inference.inputs import repaired
from rdrop_cli.core.storage import starter
from rdrop_cli.errors import CheckpointError

words = st.lists(st.sampled_from([*GOOD, *BAD, *NEUTRAL, "\U0001f44d", "na\u00efve", "[SEP]", "\u4e2d\u6587"]))
anything = st.text(st.characters(), max_size=60)  # lone surrogates too
texts = st.one_of(words.map(" ".join), anything).map(repaired)
LONG = "the movie was great, " * 6000


@pytest.fixture(scope="module", params=["tiny", "starter"])
def folder(request, tiny_model):
    return tiny_model if request.param == "tiny" else starter.model_folder()


@pytest.fixture(scope="module")
def both(folder):
    """Transformers' tokenizer, and that of the file."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder), JsonTokenizer(folder / "tokenizer.json")


def assert_equal_tokens(both, side, first, second, max_length):
    for tokenizer in both:
        tokenizer.truncation_side = side
    expected, found = (encode(one, first, second, max_length=max_length, count_all=False) for one in both)
    for name in ("ids", "type_ids", "offsets"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    rows=st.lists(st.tuples(texts, texts), min_size=1, max_size=4),
    has_pairs=st.booleans(),
    side=st.sampled_from(["left", "right"]),
    max_length=st.integers(3, 20),
)
def test_any_text_or_pair_however_truncated(both, rows, has_pairs, side, max_length):
    first, second = ([row[index] for row in rows] for index in (0, 1))
    assert_equal_tokens(both, side, first, second if has_pairs else None, max_length)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("max_length", [3, 64, 512])
def test_very_long_and_empty_texts(both, side, max_length):
    rows = [LONG, "", "x" * 120_000, " " * 110_000 + "great"]
    assert_equal_tokens(both, side, rows, None, max_length)
    assert_equal_tokens(both, side, rows, rows[::-1], max_length)


def test_the_files_own_truncation_and_padding_are_not_applied(tiny_model, tmp_path):
    from tokenizers import Tokenizer

    inner = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    inner.enable_truncation(4)
    inner.enable_padding(length=30)
    inner.save(str(tmp_path / "tokenizer.json"))
    for path in (tiny_model, tmp_path):
        found = JsonTokenizer(path / "tokenizer.json")(["great movie and film", "dull"])
        assert [len(ids) for ids in found["input_ids"]] == [6, 3]


@pytest.mark.parametrize("content", [None, "", "{}", '{"version": "1.0", "model": 1}'])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CheckpointError, match=r"tokenizer.json: not a tokenizer \("):
        JsonTokenizer(path)
