"""What an export is and costs: the comparison with PyTorch, and the line at the end of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.core.runs.onnx_export import FLOAT32, INT8
from rdrop_cli.terminal.console import add_row, table
from rdrop_cli.wording import count, duration, size

if TYPE_CHECKING:
    from rich.table import Table

    from rdrop_cli.core.exporting.export import ExportResult

_ROWS = {"torch-float32": "PyTorch", "torch": "PyTorch", "onnx": "ONNX", "onnx-int8": "ONNX"}
MEANING = "changed: labels that differ from PyTorch's in float32; difference: the largest of a probability"


def export_table(exported: ExportResult) -> Table:
    """One row for each way to run the model: its size, speed, quality and agreement with PyTorch in float32."""
    check = exported.check
    shown = table("", "size", "texts/s", "accuracy", "NLL", "changed", "difference")
    for name, title in _ROWS.items():
        if name not in check or (name == "torch" and check["torch"]["precision"] == "float32"):
            continue
        row = check[name]
        cells = [number(row["accuracy"]), number(row["nll"]), f"{row['labels_changed']:,}"]
        add_row(
            shown,
            f"{title} {row['precision']}",
            size(_bytes_of(exported, name)),
            f"{row['texts_per_second']:,.0f}",
            *cells,
            f"{row['largest_difference']:.1e}" if row["largest_difference"] else "0",
        )
    return shown


def _bytes_of(exported: ExportResult, name: str) -> int:
    if name not in ("onnx", "onnx-int8"):
        return exported.weights
    file = FLOAT32 if name == "onnx" else INT8
    return sum(number for path, number in exported.sizes.items() if path in (file, f"{file}.data"))


def compared_on(check: Mapping[str, Any]) -> str:
    """What the rows of the table were measured on."""
    cpu = check["cpu"]
    return f"{count(check['texts'], check['split'] + ' text')}, {cpu['name']}, {count(cpu['threads'], 'thread')}"


def files_of(exported: ExportResult) -> str:
    """The files of an export, with their sizes."""
    return ", ".join(f"{name} {size(number)}" for name, number in exported.sizes.items())


def cost_of(exported: ExportResult) -> str:
    """The line at the end of a training."""
    texts, changed = exported.check["texts"], exported.check["onnx"]["labels_changed"]
    labels = f"{changed:,} of {texts:,} labels changed" if changed else f"all {texts:,} labels checked are equal"
    return f"Exported to ONNX in {duration(exported.seconds)}: {size(sum(exported.sizes.values()))}, {labels}"
