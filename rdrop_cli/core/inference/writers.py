"""Write predictions to a file in the format of its suffix, row by row; the file is complete or absent."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rdrop_cli.core.data.readers import format_of
from rdrop_cli.core.storage.files import writing
from rdrop_cli.errors import DataError

if TYPE_CHECKING:
    from rdrop_cli.core.inference.prediction import Prediction

Write = Callable[["Prediction"], None]
FORMATS = ("jsonl", "csv", "tsv", "parquet")
_PARQUET_ROWS = 4096


def check_output(path: Path) -> None:
    """Check that an output file has a known suffix and that its folder exists.

    Raises:
        DataError: the suffix is unknown, the folder is missing, or the path is not a regular file.
    """
    if format_of(path) not in FORMATS or (format_of(path) == "parquet" and path.suffix.lower() == ".gz"):
        raise DataError(f"{path}: unknown output format", f"Known: {', '.join('.' + name for name in FORMATS)}.")
    if path.is_dir():
        raise DataError(f"{path}: is a folder")
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is not a regular file", "Without --output, predictions are written to stdout.")
    if not path.parent.is_dir():
        raise DataError(f"{path}: its folder does not exist")


@contextmanager
def open_writer(path: Path, labels: Sequence[str]) -> Iterator[Write]:
    """Yield a function that writes one prediction; the file appears if the block succeeds.

    Raises:
        StorageError: the file cannot be written.
    """
    file_format = format_of(path)
    with writing(path) as staging:
        if file_format == "parquet":
            with _parquet(staging, labels) as write:
                yield write
            return
        raw = gzip.open(staging, "wb") if path.suffix.lower() == ".gz" else staging.open("wb")  # noqa: SIM115 - closed below
        with io.TextIOWrapper(cast("io.BufferedWriter", raw), encoding="utf-8", newline="") as stream:
            if file_format == "jsonl":
                yield lambda prediction: _write_json(stream, prediction)
            else:
                table = csv.writer(
                    stream, delimiter="\t" if file_format == "tsv" else ","
                )  # its line end, CRLF, makes it quote texts with a CR or an LF
                table.writerow(["text", "label", "score", *(f"probability_{name}" for name in labels)])
                yield lambda prediction: _write_fields(table, prediction)


def _write_json(stream: io.TextIOWrapper, prediction: Prediction) -> None:
    stream.write(json.dumps(prediction.as_dict(), ensure_ascii=False) + "\n")


def _write_fields(table: Any, prediction: Prediction) -> None:
    probabilities = (f"{value:.6g}" for value in prediction.probabilities.values())
    table.writerow([prediction.text, prediction.label, f"{prediction.score:.6g}", *probabilities])


@contextmanager
def _parquet(path: Path, labels: Sequence[str]) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [("text", pa.string()), ("label", pa.string()), ("score", pa.float64())]
        + [(f"probability_{name}", pa.float64()) for name in labels]
    )
    rows: list[dict[str, object]] = []
    with pq.ParquetWriter(path.absolute(), schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def write(prediction: Prediction) -> None:
            probabilities = {f"probability_{name}": value for name, value in prediction.probabilities.items()}
            rows.append(
                {"text": prediction.text, "label": prediction.label, "score": prediction.score, **probabilities}
            )
            if len(rows) >= _PARQUET_ROWS:
                flush()

        yield write
        flush()
