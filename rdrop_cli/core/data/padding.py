"""Batches of token ids as arrays, padded to the longest text in the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Padding:
    """How a model's tokenizer pads.

    Args:
        pad_id: Fills `input_ids`.
        pad_type_id: Fills `token_type_ids`.
        pads_left: Put the padding before the text.
    """

    pad_id: int
    pad_type_id: int = 0
    pads_left: bool = False

    def batch(self, features: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.int64]]:
        """Combine the features of several texts.

        Args:
            features: For each text `input_ids` and optionally `token_type_ids`, (length,) arrays or lists of integers,
                and `labels`, an integer.

        Returns:
            Arrays under the same names, (texts, longest) and (texts,), and `attention_mask`: 0 for padding, else 1.
        """
        lengths = np.array([len(feature["input_ids"]) for feature in features])
        width = int(lengths.max())
        batch = {"input_ids": self._padded([feature["input_ids"] for feature in features], width, self.pad_id)}
        if "token_type_ids" in features[0]:
            types = [feature["token_type_ids"] for feature in features]
            batch["token_type_ids"] = self._padded(types, width, self.pad_type_id)
        places = np.arange(width)[::-1] if self.pads_left else np.arange(width)
        batch["attention_mask"] = (places < lengths[:, None]).astype(np.int64)
        if "labels" in features[0]:
            batch["labels"] = np.asarray([feature["labels"] for feature in features], dtype=np.int64)
        return batch

    def _padded(self, rows: Sequence[Any], width: int, fill: int) -> NDArray[np.int64]:
        padded = np.full((len(rows), width), fill, dtype=np.int64)
        for target, row in zip(padded, rows, strict=True):
            if self.pads_left:
                target[width - len(row) :] = row
            else:
                target[: len(row)] = row
        return padded
