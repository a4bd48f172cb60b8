"""Load tokenizers, with errors that name the model and say what to do."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from rdrop_cli.core.data.tokens import strip_state
from rdrop_cli.core.model.loading import map_loading_errors, quiet_transformers
from rdrop_cli.errors import ModelError


def load_tokenizer(name: str, *, max_length: int | None, trust_remote_code: bool = False) -> Any:
    """Load a tokenizer that truncates at `max_length`, and remove its stored truncation and padding settings.

    Args:
        name: The model's folder.
        max_length: Longest input in tokens, special tokens included; None: the tokenizer's own limit.

    Raises:
        ModelError: there is no tokenizer, it needs a missing package, or it has no padding token.
    """
    quiet_transformers()
    from transformers import AutoTokenizer

    try:
        with map_loading_errors(name, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    except ModelError as error:
        if not _lacks_sentencepiece(Path(name)):
            raise
        raise ModelError(
            f"{name}: the tokenizer is a sentencepiece model, but the sentencepiece package is not installed",
            "Install it: pip install 'rdrop-cli[sentencepiece]'.",
        ) from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # transformers makes an empty one if there are no files
        raise ModelError(f"{name}: tokenizer not found (no vocabulary)", "Put its tokenizer.json into the folder.")
    if tokenizer.pad_token_id is None:
        raise ModelError(f"{name}: the tokenizer has no padding token", "Use a model that has one, such as BERT's.")
    if max_length is not None:
        tokenizer.model_max_length = max_length
    strip_state(tokenizer)
    return tokenizer


def check_token_ids(highest: int, model: Any, name: str) -> None:
    """Refuse token ids that a model has no embeddings for; on a GPU they would make the device unusable.

    Args:
        highest: The highest id of the inputs.
        name: The model's, for the message.

    Raises:
        ModelError: there are such ids.
    """
    count = getattr(model.get_input_embeddings(), "num_embeddings", highest + 1)
    if highest >= count:
        raise ModelError(
            f"{name}: the tokenizer gives the token id {highest}, but the model has embeddings for {count} tokens",
            "Put the tokenizer that belongs to the model into its folder.",
        )


def _lacks_sentencepiece(folder: Path) -> bool:
    """True if the tokenizer is only a sentencepiece model (DeBERTa-v3, XLNet, T5...) and that package is missing."""
    is_bare = any(folder.glob("*.model")) and not (folder / "tokenizer.json").is_file()
    return is_bare and importlib.util.find_spec("sentencepiece") is None
