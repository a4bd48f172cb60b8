"""Made-up inputs, and tests of a model's behaviour with them, so that no list of model types is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rdrop_cli.core.data.tokens import TokenDataset, Tokens
from rdrop_cli.core.model.mode import in_mode

Collate = Callable[[Sequence[dict[str, Any]]], Mapping[str, Tensor]]
SHORT, LONG = 6, 12
"""Lengths, in tokens, of the two rows that most tests use."""
_MOST_IDS = 1000


class _Reached(Exception):
    """Ends a pass that has reached the first layer."""


def made_up(tokenizer: Any, model: Any, lengths: Sequence[int], *, segments: bool = False) -> TokenDataset:
    """Inputs of exactly these lengths: ordinary token ids between the special tokens that the tokenizer adds.

    Args:
        segments: Give the second half of each row the type id 1, like the second text of a pair.
    """
    bare, filled = (list(tokenizer(text)["input_ids"]) for text in ("", "a"))
    start = next((i for i, (one, other) in enumerate(zip(bare, filled, strict=False)) if one != other), len(bare))
    before, after = bare[:start], bare[start:]
    embeddings = getattr(model.get_input_embeddings(), "num_embeddings", len(tokenizer))
    special = set(tokenizer.all_special_ids)
    ordinary = [index for index in range(min(len(tokenizer), embeddings)) if index not in special][:_MOST_IDS]
    rows = []
    for number, length in enumerate(lengths):
        middle = max(0, length - len(bare))
        ids = np.resize(np.roll(np.array(ordinary or [0]), -number), middle).tolist()
        rows.append([*before, *ids, *after][:length])
    types = [np.arange(len(row)) * 2 // len(row) for row in rows] if segments else None
    return TokenDataset(
        Tokens(
            ids=np.concatenate([np.array(row, dtype=np.int32) for row in rows]),
            type_ids=np.concatenate(types).astype(np.int8) if types else None,
            offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64),
            full_lengths=np.array([len(row) for row in rows], dtype=np.int32),
        ),
        None,
    )


def batch_of(rows: TokenDataset, collate: Collate, device: torch.device | None = None) -> dict[str, Tensor]:
    """All rows as one padded batch."""
    batch = collate([rows[index] for index in range(len(rows))])
    return {name: value.to(device) if device is not None else value for name, value in batch.items()}


def run(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor]:
    """Run one pass in the model's present mode.

    Returns:
        The encoder's output, (batch, length, width), or None if it cannot be separated from the head's; and the logits,
        (batch, classes).
    """
    encoded: list[Any] = []
    base = model.base_model
    hook = base.register_forward_hook(lambda module, inputs, out: encoded.append(out)) if base is not model else None
    try:
        logits: Tensor = model(**batch).logits
    finally:
        if hook is not None:
            hook.remove()
    output = encoded[-1] if encoded else None
    hidden = output if isinstance(output, Tensor) or output is None else output[0]
    return (hidden if isinstance(hidden, Tensor) else None), logits


def depends_on_padding(model: Any, tokenizer: Any, collate: Collate) -> bool:
    """True if a text's logits change when it is padded to the length of a longer text in its batch.

    Args:
        model: In float32, on the CPU.
    """
    rows = made_up(tokenizer, model, [SHORT, LONG])
    with torch.no_grad(), in_mode(model, training=False):
        alone = model(**collate([rows[0]])).logits[0]
        padded = model(**batch_of(rows, collate)).logits[0]
    return bool((alone - padded).abs().max() > 1e-3 * alone.abs().max() + 1e-6)


def usable_length(model: Any, tokenizer: Any, collate: Collate, upper: int) -> int:
    """The longest input, up to `upper` tokens, that the model has positions for; 0 if it accepts no input at all.

    The passes end at the first layer, so that this takes little time.

    Args:
        model: In float32 and on the CPU, where a position out of range is an ordinary error.
    """
    if _takes(model, tokenizer, collate, upper):
        return upper
    fits, fails = 0, upper
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if _takes(model, tokenizer, collate, middle):
            fits = middle
        else:
            fails = middle
    return fits


def _takes(model: Any, tokenizer: Any, collate: Collate, length: int) -> bool:
    """Whether a pass over `length` tokens reaches the first layer."""

    def stop(*_: Any) -> None:
        raise _Reached

    stacks = (module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module))
    layer = next((next(iter(stack)) for stack in stacks), None)
    hook = layer.register_forward_pre_hook(stop) if layer is not None else None
    try:
        with torch.no_grad(), in_mode(model, training=False):
            model(**batch_of(made_up(tokenizer, model, [length]), collate))
    except (IndexError, RuntimeError, ValueError) as error:
        if isinstance(error, RuntimeError) and "memory" in str(error):
            raise
        return False
    except _Reached:
        return True
    finally:
        if hook is not None:
            hook.remove()
    return True
