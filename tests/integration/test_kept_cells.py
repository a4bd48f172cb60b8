"""The runs of a comparison that `benchmarks/kept_cells.py` keeps let it continue where only they are."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from comparison_runs import Told

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def kept_cells(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import kept_cells

    monkeypatch.setattr(kept_cells, "CELLS", tmp_path / "cells")
    return kept_cells


def test_a_comparison_continues_from_kept_runs(comparisons, kept_cells):
    comparisons.copy("moved", "plain/seed42", "rdrop/seed42", "plain/seed43")
    assert kept_cells.keep(Path("moved")) == 3
    archives = {path.name: path.read_bytes() for path in (kept_cells.CELLS / "moved").iterdir()}
    assert sorted(archives) == ["seed42.zip", "seed43.zip"]
    shutil.rmtree("moved")

    assert kept_cells.bring_back(Path("moved")) == 3
    assert kept_cells.bring_back(Path("moved")) == 0
    told = Told()
    assert comparisons.make("moved", None, told) == comparisons.results
    assert told.ended_cells == ["rdrop seed 43"]

    assert kept_cells.keep(Path("moved")) == 4
    again = (kept_cells.CELLS / "moved" / "seed42.zip").read_bytes()
    assert again == archives["seed42.zip"], "the same runs, the same file"


def test_neither_weights_nor_where_the_prepared_data_was_are_kept(comparisons, kept_cells):
    kept_cells.keep(Path("here"))
    with zipfile.ZipFile(kept_cells.CELLS / "here" / "seed42.zip") as archive:
        assert not [name for name in archive.namelist() if "safetensors" in name or "best/" in name]
        record = archive.read("plain/seed42/data.json")
    assert json.loads(record)["prepared"] is None
