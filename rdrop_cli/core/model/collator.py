"""Batches of token ids, padded to the longest text in the batch, without a mask if nothing is padded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rdrop_cli.core.model.attention import NAME
from rdrop_cli.core.model.value_reads import ValueReads

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TRIED = 6
"""Number of tokens in the trial input of `needs_mask`."""


@dataclass(frozen=True)
class Collator:
    """Combines the features of several texts into tensors, as transformers' `DataCollatorWithPadding` does.

    It works on arrays instead of Python lists, and omits `attention_mask` if nothing is padded.

    Args:
        pad_id: Fills `input_ids`.
        pad_type_id: Fills `token_type_ids`.
        pads_left: Put the padding before the text.
        gives_mask: Whether the model takes a mask, according to its tokenizer.
        always_gives_mask: Return the mask even if nothing is padded.
    """

    pad_id: int
    pad_type_id: int = 0
    pads_left: bool = False
    gives_mask: bool = True
    always_gives_mask: bool = True

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Collate.

        Args:
            features: For each text `input_ids` and optionally `token_type_ids`, (length,) arrays or lists of integers,
                and `labels`, an integer.

        Returns:
            int64 tensors under the same names, (texts, longest) and (texts,), and `attention_mask`: 0 for padding,
            else 1.
        """
        lengths = [len(feature["input_ids"]) for feature in features]
        width = max(lengths)
        batch = {"input_ids": self._padded([feature["input_ids"] for feature in features], width, self.pad_id)}
        if "token_type_ids" in features[0]:
            types = [feature["token_type_ids"] for feature in features]
            batch["token_type_ids"] = self._padded(types, width, self.pad_type_id)
        if self.gives_mask and (self.always_gives_mask or min(lengths) < width):
            places = np.arange(width)[::-1] if self.pads_left else np.arange(width)
            batch["attention_mask"] = (places < np.asarray(lengths)[:, None]).astype(np.int64)
        if "labels" in features[0]:
            batch["labels"] = np.asarray([feature["labels"] for feature in features], dtype=np.int64)
        return {name: torch.from_numpy(values) for name, values in batch.items()}

    def _padded(self, rows: Sequence[Any], width: int, fill: int) -> NDArray[np.int64]:
        padded = np.full((len(rows), width), fill, dtype=np.int64)
        for target, row in zip(padded, rows, strict=True):
            if self.pads_left:
                target[width - len(row) :] = row
            else:
                target[: len(row)] = row
        return padded


def make_collator(tokenizer: Any, model: Any) -> Collator:
    """The collator for a tokenizer and a model, which decides whether unpadded batches need a mask."""
    gives_mask = "attention_mask" in tokenizer.model_input_names
    return Collator(
        pad_id=tokenizer.pad_token_id,
        pad_type_id=tokenizer.pad_token_type_id,
        pads_left=tokenizer.padding_side == "left",
        gives_mask=gives_mask,
        always_gives_mask=gives_mask and needs_mask(model),
    )


def needs_mask(model: Any) -> bool:
    """Whether a model needs a mask even for texts without padding, tried with six tokens.

    The mask can be omitted if the logits then stay the same to the last bit and the model does not read its input's
    values instead: some models warn about padding without a mask, and decoders look for several texts packed into one
    row.

    Args:
        model: A sequence classifier.

    Returns:
        False only for a model with rdrop's attention that passed this test; other kernels may behave differently
        without a mask.
    """
    vocabulary = getattr(model.config, "vocab_size", None) or 0
    if model.config._attn_implementation != NAME or vocabulary <= _TRIED:
        return True
    # The last ids: the first are often special ones.
    ids = [index for index in range(vocabulary - _TRIED - 1, vocabulary) if index != model.config.pad_token_id]
    inputs = torch.tensor([ids[-_TRIED:]], device=model.device)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            expected = model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits
            with ValueReads() as spy:
                unmasked = model(input_ids=inputs).logits
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return True  # the model requires a mask
    finally:
        model.train(was_training)
    return bool(spy.reads) or not torch.equal(unmasked, expected)
