"""Padding on arrays is the padding of Transformers' collator."""

import numpy as np
import pytest

from rdrop_cli.core.data.padding import Padding


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("with_types", [True, False])
def test_a_batch_is_that_of_transformers(tiny_model, side, with_types):
    from transformers import AutoTokenizer, DataCollatorWithPadding

    tokenizer = AutoTokenizer.from_pretrained(tiny_model, padding_side=side)
    tokenizer.pad_token_id = 7
    tokenizer._pad_token_type_id = 3
    features = []
    for label, length in enumerate((5, 1, 8, 8)):
        ids = np.arange(length, dtype=np.int32) + 10
        features.append({"input_ids": ids, "labels": label} | ({"token_type_ids": ids % 2} if with_types else {}))
    expected = DataCollatorWithPadding(tokenizer, return_tensors="np")([dict(feature) for feature in features])
    found = Padding(7, 3, side == "left").batch(features)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])
        assert values.dtype == np.int64
