"""Tokenizers and token ids. Text is never cleaned: the tokenizer is the only transformation.

Any other tool that loads the checkpoint therefore gives the model the same input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli.errors import ModelError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 1000
_CHUNK_CHARACTERS = 2_000_000
_PIECE = 100_000
"""Most characters of a text to encode at once; truncation nearly always removes whatever follows them."""


@dataclass(frozen=True)
class Tokens:
    """Token ids of many texts, ragged: text i has ids[offsets[i]:offsets[i + 1]].

    Attributes:
        ids: (sum of lengths,) int32.
        type_ids: Same shape, int8; None for models without segments, or if all are 0.
        offsets: (texts + 1,) int64.
        full_lengths: (texts,) int32: tokens before truncation, or after it if those were not counted.
    """

    ids: NDArray[np.int32]
    type_ids: NDArray[np.int8] | None
    offsets: NDArray[np.int64]
    full_lengths: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.full_lengths)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(texts,) int64: tokens after truncation."""
        return np.diff(self.offsets)

    def features(self, index: int) -> dict[str, Any]:
        """One text's features for the collator: views of its ids, unpadded."""
        span = slice(self.offsets[index], self.offsets[index + 1])
        features: dict[str, Any] = {"input_ids": self.ids[span]}
        if self.type_ids is not None:
            features["token_type_ids"] = self.type_ids[span]
        return features


def strip_state(tokenizer: Any) -> None:
    """Remove the truncation and padding that a call sets in a fast tokenizer and that saving it would keep."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """SHA-256 over everything that determines a text's token ids, except the maximum length."""
    strip_state(tokenizer)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    inner = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    outer = repr((type(tokenizer).__name__, sorted(tokenizer.special_tokens_map.items()), tokenizer.truncation_side))
    return hashlib.sha256(f"{outer}\n{inner}".encode()).hexdigest()


def encode(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    *,
    max_length: int,
    count_all: bool = True,
    on_progress: Callable[[int], None] | None = None,
) -> Tokens:
    """Token ids of texts or text pairs, truncated as `truncation=True` does.

    Args:
        max_length: Longest input in tokens, special tokens included.
        count_all: Also count the tokens before truncation; texts that are too long are then encoded twice.
        on_progress: Called with the number of texts just encoded.

    Raises:
        ModelError: the tokenizer fails, for instance because it has no token for unknown words.
    """
    id_parts: list[NDArray[np.int32]] = []
    type_parts: list[NDArray[np.int8]] = []
    lengths: list[int] = []
    full_lengths: list[int] = []
    for span in _chunks(texts, pairs):
        first = list(texts[span])
        second = list(pairs[span]) if pairs is not None else None
        try:
            encoded, full = _encode_chunk(tokenizer, first, second, max_length, count_all)
        except MemoryError:
            raise
        except Exception as error:  # fast tokenizers raise no other class
            raise ModelError(
                f"the tokenizer fails: {one_line(error)}", "Check that its files belong to the model, and are complete."
            ) from error
        full_lengths += full
        lengths += [len(ids) for ids in encoded["input_ids"]]
        id_parts += [np.asarray(ids, dtype=np.int32) for ids in encoded["input_ids"]]
        if "token_type_ids" in encoded:
            type_parts += [np.asarray(ids, dtype=np.int8) for ids in encoded["token_type_ids"]]
        if on_progress is not None:
            on_progress(len(first))
    ids = np.concatenate(id_parts) if id_parts else np.zeros(0, np.int32)
    type_ids = np.concatenate(type_parts) if type_parts else None
    return Tokens(
        ids=ids,
        type_ids=type_ids if type_ids is not None and type_ids.any() else None,
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        full_lengths=np.asarray(full_lengths, dtype=np.int32),
    )


def _chunks(texts: Sequence[str], pairs: Sequence[str] | None) -> Iterator[slice]:
    """Spans of texts to encode at once, with a limit on texts and characters because encodings take memory."""
    start = size = 0
    for index, text in enumerate(texts):
        length = len(text) + (len(pairs[index]) if pairs is not None else 0)
        if index > start and (index - start == _CHUNK or size + length > _CHUNK_CHARACTERS):
            yield slice(start, index)
            start, size = index, 0
        size += length
    if texts:
        yield slice(start, len(texts))


def _encode_chunk(
    tokenizer: Any, first: list[str], second: list[str] | None, max_length: int, count_all: bool
) -> tuple[Any, list[int]]:
    """Truncated encodings, and the number of tokens before truncation (if counted)."""
    rests: dict[int, tuple[str, list[str]]] = {}
    if second is None and tokenizer.truncation_side == "right":
        for index, text in enumerate(first):
            pieces = _pieces(text)
            if len(pieces) > 1:
                first[index], rests[index] = pieces[0], (text, pieces[1:])
    encoded = tokenizer(first, second, truncation=not count_all, max_length=max_length, verbose=False)
    for index, (text, _) in rests.items():
        if len(encoded["input_ids"][index]) < max_length:  # the first piece is too short
            first[index] = text
            whole = tokenizer(text, truncation=not count_all, max_length=max_length, verbose=False)
            for key in encoded.keys() & {"input_ids", "token_type_ids"}:
                encoded[key][index] = whole[key]
    full = [len(ids) for ids in encoded["input_ids"]]
    long = [index for index, length in enumerate(full) if length > max_length]
    if long:
        cut = tokenizer(
            [first[index] for index in long],
            [second[index] for index in long] if second is not None else None,
            truncation=True,
            max_length=max_length,
        )
        for key in encoded.keys() & {"input_ids", "token_type_ids"}:
            for index, values in zip(long, cut[key], strict=True):
                encoded[key][index] = values
    if count_all:
        for index, (text, rest) in rests.items():
            if first[index] is not text:
                full[index] += sum(
                    len(tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"]) for piece in rest
                )
    return encoded, full


def _pieces(text: str) -> list[str]:
    """Divide a text into pieces of at most `_PIECE` characters, cut before single spaces; the rest is one piece.

    No tokenizer merges across such a space, so the tokens of the first piece are those of the text's beginning.
    """
    pieces, start = [], 0
    while len(text) - start > _PIECE:
        cut = text.rfind(" ", start + _PIECE // 2, start + _PIECE)
        if cut < 0 or text[cut - 1].isspace() or text[cut + 1].isspace():
            break
        pieces.append(text[start:cut])
        start = cut
    return [*pieces, text[start:]]


class TokenDataset:
    """Tokens with labels as a map-style data set for torch's DataLoader."""

    def __init__(
        self, tokens: Tokens, labels: NDArray[np.int64] | None, order: NDArray[np.int64] | None = None
    ) -> None:
        self.tokens = tokens
        self.labels = labels
        self._order = np.arange(len(tokens)) if order is None else order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = int(self._order[index])
        features = self.tokens.features(row)
        if self.labels is not None:
            features["labels"] = int(self.labels[row])
        return features

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(examples,) int64: tokens of each example, in this data set's order."""
        return self.tokens.lengths[self._order]

    @property
    def targets(self) -> NDArray[np.int64]:
        """(examples,) int64 class ids, in this data set's order.

        Raises:
            ValueError: it has no labels.
        """
        if self.labels is None:
            raise ValueError("a data set without labels has no targets")
        return self.labels[self._order]

    def by_length(self) -> TokenDataset:
        """The same examples, longest first, so that batches need little padding."""
        order = self._order[np.argsort(-self.lengths, kind="stable")]
        return TokenDataset(self.tokens, self.labels, order)

    def sample(self, count: int, seed: int) -> TokenDataset:
        """At most `count` of the examples, drawn without replacement, in their original order."""
        if count >= len(self):
            return self
        chosen = np.random.default_rng(seed).choice(len(self), size=count, replace=False)
        return TokenDataset(self.tokens, self.labels, self._order[np.sort(chosen)])
