"""Batches of token ids, padded to the longest text in the batch, without a mask if nothing is padded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rdrop_cli.core.data.padding import Padding
from rdrop_cli.core.model.attention import NAME
from rdrop_cli.core.model.mode import in_mode
from rdrop_cli.core.model.value_reads import ValueReads

_TRIED = 6
"""Number of tokens in the trial input of `needs_mask`."""


@dataclass(frozen=True)
class Collator(Padding):
    """Combines the features of several texts into tensors, as transformers' `DataCollatorWithPadding` does.

    It works on arrays instead of Python lists, and omits `attention_mask` if nothing is padded.

    Args:
        gives_mask: Whether the model takes a mask, according to its tokenizer.
        always_gives_mask: Return the mask even if nothing is padded.
    """

    gives_mask: bool = True
    always_gives_mask: bool = True

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Collate, as `Padding.batch` describes, to int64 tensors."""
        batch = self.batch(features)
        if not self.gives_mask or not (self.always_gives_mask or (batch["attention_mask"] == 0).any()):
            del batch["attention_mask"]
        return {name: torch.from_numpy(values) for name, values in batch.items()}


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
    try:
        with torch.no_grad(), in_mode(model, training=False):
            expected = model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits
            with ValueReads() as spy:
                unmasked = model(input_ids=inputs).logits
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return True  # the model requires a mask
    return bool(spy.reads) or not torch.equal(unmasked, expected)
