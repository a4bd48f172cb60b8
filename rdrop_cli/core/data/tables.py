"""The parquet files of a prepared folder, with a checksum for each page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rdrop_cli.core.data.tokens import Tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_table(columns: Mapping[str, Any], path: Path) -> None:
    """Write columns of equal length as a table."""
    pq.write_table(pa.table(dict(columns)), path.absolute(), compression="zstd", write_page_checksum=True)


def read_table(path: Path) -> pa.Table:
    """Read a table and verify its checksums.

    Raises:
        OSError, pyarrow.ArrowException: it is missing or damaged.
    """
    return pq.read_table(path.absolute(), page_checksum_verification=True)


def save_tokens(tokens: Tokens, path: Path) -> None:
    """Write tokens as lists of ids, a row for each text."""
    offsets = pa.array(tokens.offsets, type=pa.int64())
    columns = {
        "input_ids": pa.LargeListArray.from_arrays(offsets, pa.array(tokens.ids)),
        "full_length": pa.array(tokens.full_lengths),
    }
    if tokens.type_ids is not None:
        columns["token_type_ids"] = pa.LargeListArray.from_arrays(offsets, pa.array(tokens.type_ids))
    write_table(columns, path)


def load_tokens(path: Path) -> Tokens:
    """Read tokens that `save_tokens` wrote.

    Raises:
        OSError, LookupError, pyarrow.ArrowException: the file is missing, damaged, or another table.
    """
    table = read_table(path).combine_chunks()

    def flat(column: str) -> NDArray[Any]:
        chunked = table[column]
        return pa.concat_arrays(chunk.flatten() for chunk in chunked.chunks).to_numpy()

    lengths = table["input_ids"].combine_chunks().value_lengths().to_numpy()
    return Tokens(
        ids=flat("input_ids"),
        type_ids=flat("token_type_ids") if "token_type_ids" in table.column_names else None,
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        full_lengths=table["full_length"].to_numpy(),
    )
