"""A last encoder layer that computes only what the classification head reads.

The classification heads of BERT, RoBERTa and similar models read the first token only. From the last layer this takes
the first token's query, attention output and feed-forward block, and every token's key and value. The rest does not
affect the logits, and its gradient is zero; omitting it changes no result and saves five sixths of that layer.

A layer is cut only if its parts have the names that BERT's have, and if a trial gives the same results: whether a head
reads other tokens (pooling by the mean, say) cannot be told from the names of its modules. The cut layer draws fewer
random numbers, so training with it and without it have different dropout masks, drawn in the same way.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rdrop_cli.core.model.attention import NAME
from rdrop_cli.core.model.mode import in_mode

_PARTS = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output", "intermediate")
_INPUT = [[2, 3, 4, 5, 6, 7], [2, 3, 4, 0, 0, 0]]


def use_first_token_only(model: Any) -> bool:
    """Make the last layer compute the first token only, if a trial shows that this changes nothing.

    Args:
        model: A sequence classifier in float32.

    Returns:
        Whether the layer was changed.
    """
    layers = getattr(getattr(model.base_model, "encoder", None), "layer", None)
    if not isinstance(layers, nn.ModuleList) or model.config._attn_implementation not in ("sdpa", NAME):
        return False
    layer: Any = layers[-1]
    names = {name for name, _ in layer.named_modules()}
    # A decoder's layer is causal, and its head reads the last token.
    if not set(_PARTS) <= names or not hasattr(layer, "feed_forward_chunk") or getattr(layer, "is_decoder", False):
        return False
    if not hasattr(layer.attention.self, "attention_head_size") or not hasattr(layer.attention.self, "scaling"):
        return False
    before = _try(model)
    layer.forward = _FirstTokenOnly(layer)
    after = _try(model)
    if after is not None and before is not None and torch.allclose(before, after, rtol=1e-4, atol=1e-5):
        return True
    del layer.forward
    return False


def cut_layers(model: Any) -> list[Any]:
    """The layers that `use_first_token_only` changed; `del layer.forward` restores one."""
    return [module for module in model.modules() if isinstance(vars(module).get("forward"), _FirstTokenOnly)]


class _FirstTokenOnly:
    """Replaces a layer's forward: (batch, length, width) to (batch, 1, width).

    Transformers implements activation checkpointing in the `forward` of a layer's class. This object hides that method,
    so it has to implement checkpointing itself.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **kwargs: Any) -> Tensor:
        layer = self.layer
        if getattr(layer, "gradient_checkpointing", False) and layer.training:
            checkpointed: Tensor = layer._gradient_checkpointing_func(
                partial(self._compute, attention_mask=attention_mask), hidden_states
            )
            return checkpointed
        return self._compute(hidden_states, attention_mask)

    def _compute(self, hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
        attention = self.layer.attention.self
        first = hidden_states[:, :1]
        query, key, value = (
            part.unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)
            for part in (attention.query(first), attention.key(hidden_states), attention.value(hidden_states))
        )
        context, _ = ALL_ATTENTION_FUNCTIONS[attention.config._attn_implementation](
            attention,
            query,
            key,
            value,
            attention_mask[:, :, :1] if attention_mask is not None else None,  # the row of the only query
            dropout=attention.dropout.p if attention.training else 0.0,
            scaling=attention.scaling,
            is_causal=False,
        )
        out: Tensor = self.layer.feed_forward_chunk(self.layer.attention.output(context.flatten(2), first))
        return out


def _try(model: Any) -> Tensor | None:
    """The first token's last hidden state and the logits for a fixed input; None if the vocabulary is too small for it.

    Two rows, one of them padded, so that the mask matters. The hidden state is compared too because small weights in a
    new head could hide a difference from the logits.
    """
    if model.config.vocab_size <= _INPUT[0][-1]:
        return None
    with torch.no_grad(), in_mode(model, training=False):
        ids = torch.tensor(_INPUT, device=model.device)
        inputs = {"input_ids": ids, "attention_mask": (ids > 0).long()}
        read: Tensor = model.base_model(**inputs).last_hidden_state[:, 0]
        logits: Tensor = model(**inputs).logits
    return torch.cat([read.flatten(), logits.flatten()])
