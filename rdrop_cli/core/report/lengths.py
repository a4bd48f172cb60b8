"""How many tokens texts have, from the cache of the prepared data or, without one, with the run's tokenizer."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rdrop_cli.core.data.tables import load_tokens
from rdrop_cli.core.data.tokens import encode
from rdrop_cli.core.inference.backends.json_tokenizer import JsonTokenizer
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.data.dataset import Prepared


def token_lengths(
    data: Prepared, split: str, best: Path, record: Mapping[str, Any], max_length: int
) -> NDArray[np.int64] | None:
    """(examples,) tokens before truncation; None if neither cache nor tokenizer can be read.

    Args:
        best: The folder with the run's tokenizer.json.
        record: The run's data.json, which names the tokenizer of the cache.
    """
    examples = data.split(split)
    model = record.get("model")
    tokenizer = model.get("tokenizer") if isinstance(model, dict) else None
    cache = data.token_cache(split, tokenizer, max_length) if isinstance(tokenizer, str) else None
    if cache is not None:
        with contextlib.suppress(OSError, pa.ArrowException, LookupError, ValueError, TypeError, AttributeError):
            full = load_tokens(cache).full_lengths
            if len(full) == len(examples):
                return full.astype(np.int64)
    try:
        return encode(
            JsonTokenizer(best / "tokenizer.json"), examples.texts, examples.pairs, max_length=max_length
        ).full_lengths.astype(np.int64)
    except CheckpointError:
        return None
