"""The comparison of an export with PyTorch, as a table, and its cost in a line."""

from pathlib import Path

from rdrop_cli.core.exporting.export import ExportResult
from rdrop_cli.terminal.console import Screen
from rdrop_cli.terminal.export_view import compared_on, cost_of, export_table


def row(precision, speed, changed=0, difference=0.0):
    return {
        "precision": precision, "texts_per_second": speed, "labels_changed": changed, "largest_difference": difference,
        "accuracy": 0.75, "nll": 0.5,
    }  # fmt: skip


CHECK = {
    "split": "validation",
    "texts": 852,
    "torch-float32": row("float32", 1234.4),
    "torch": row("bfloat16", 2000.0, 1, 2e-3),
    "onnx": row("float32", 1500.0, 0, 7.5e-8),
    "onnx-int8": row("int8", 2500.0, 10, 8.1e-3),
    "cpu": {"name": "A CPU", "features": [], "threads": 1},
}
SIZES = {"model.onnx": 2**20, "model.onnx.data": 99 * 2**20, "model_quantized.onnx": 25 * 2**20}
EXPORTED = ExportResult(Path("run/best/onnx"), SIZES, 98 * 2**20, CHECK, None, 6.2)


def rows_of(table):
    return list(zip(*(list(column.cells) for column in table.columns), strict=True))


def test_there_is_a_row_for_each_way_to_run_the_model():
    cells = [[str(cell) for cell in row] for row in rows_of(export_table(EXPORTED))]
    assert cells == [
        ["PyTorch float32", "98 MiB", "1,234", "0.7500", "0.5000", "0", "0"],
        ["PyTorch bfloat16", "98 MiB", "2,000", "0.7500", "0.5000", "1", "2.0e-03"],
        ["ONNX float32", "100 MiB", "1,500", "0.7500", "0.5000", "0", "7.5e-08"],
        ["ONNX int8", "25 MiB", "2,500", "0.7500", "0.5000", "10", "8.1e-03"],
    ]
    assert compared_on(CHECK) == "852 validation texts, A CPU, 1 thread"


def test_it_fits_80_columns():
    screen = Screen()
    screen.ui.width = 80
    assert screen.fits(export_table(EXPORTED))


def test_a_precision_that_is_the_same_is_shown_once():
    same = ExportResult(EXPORTED.folder, SIZES, 1, {**CHECK, "torch": CHECK["torch-float32"]}, None, 6.2)
    assert [str(row[0]) for row in rows_of(export_table(same))] == ["PyTorch float32", "ONNX float32", "ONNX int8"]


def test_the_cost_is_a_line():
    assert cost_of(EXPORTED) == "Exported to ONNX in 6 s: 125 MiB, all 852 labels checked are equal"
    changed = ExportResult(EXPORTED.folder, SIZES, 1, {**CHECK, "onnx": row("float32", 1.0, 2)}, None, 6.2)
    assert cost_of(changed).endswith(", 2 of 852 labels changed")
