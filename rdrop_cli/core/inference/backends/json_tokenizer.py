"""Tokenize with a tokenizer.json alone, with the Rust library that Transformers' fast tokenizers use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rdrop_cli.errors import CheckpointError, one_line


class JsonTokenizer:
    """Gives what a Transformers tokenizer gives for the arguments that `core.data.tokens.encode` uses.

    The file's own settings for padding and truncation are not applied.

    Args:
        path: tokenizer.json.
        truncation_side: Where a text that is too long is cut.

    Raises:
        CheckpointError: the file is missing or damaged.
    """

    def __init__(self, path: Path, truncation_side: Literal["left", "right"] = "right") -> None:
        from tokenizers import Tokenizer

        self.truncation_side = truncation_side
        try:
            self._inner = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises no other class
            raise CheckpointError(f"{path}: not a tokenizer ({one_line(error)})") from error
        self._inner.no_padding()

    def __call__(
        self,
        texts: str | Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        truncation: bool = False,
        max_length: int = 0,
        verbose: bool = True,
    ) -> dict[str, Any]:
        """Token ids and type ids: of each text or pair, or of the one text that is given.

        Args:
            truncation: Cut what is longer than `max_length`; of a pair, the longer text first.
            verbose: Has no effect.
        """
        if truncation:
            self._inner.enable_truncation(max_length, strategy="longest_first", direction=self.truncation_side)
        else:
            self._inner.no_truncation()
        given = [texts] if isinstance(texts, str) else list(texts)
        rows = self._inner.encode_batch_fast(given if pairs is None else list(zip(given, pairs, strict=True)))
        encoded = {"input_ids": [row.ids for row in rows], "token_type_ids": [row.type_ids for row in rows]}
        return {name: values[0] for name, values in encoded.items()} if isinstance(texts, str) else encoded
