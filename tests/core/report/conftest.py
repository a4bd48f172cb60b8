"""Runs and comparisons with their pages, made once a session."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rdrop_cli.config import load_config
from rdrop_cli.core.data.dataset import Prepared, Split
from rdrop_cli.core.data.labels import LabelMap
from rdrop_cli.core.metrics.classification import classification_metrics
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.outputs import save_outputs
from rdrop_cli.core.storage.integrity import with_checksum
from report_cases import HOSTILE, guesses, make

KEPT = Path(__file__).parents[3] / "benchmarks" / "results" / "comparisons"


@pytest.fixture(scope="session")
def run(trained_once):
    """A finished run, which knows both classes. Copy it to change it."""
    folder, document = trained_once
    return folder / document["run_dir"]


@pytest.fixture(scope="session")
def reported(run, tmp_path_factory):
    """The page of the run, made once a session."""
    return make(run, out=tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="session")
def comparison(run, tmp_path_factory):
    """The results of a real comparison; those of its runs are made up."""
    folder = tmp_path_factory.mktemp("comparisons") / "rotten-tomatoes"
    folder.mkdir()
    document = json.loads((KEPT / "rotten-tomatoes-1000.json").read_text(encoding="utf-8"))
    with (KEPT / "rotten-tomatoes-1000.csv").open(encoding="utf-8") as stream:
        document["cells"] = [cell_of(row) for row in csv.DictReader(stream)]
    (folder / "results.json").write_text(json.dumps(document), encoding="utf-8")
    for cell in document["cells"]:
        of_cell = folder / cell["run"]
        of_cell.mkdir(parents=True)
        for name in (layout.CONFIG, layout.HISTORY):
            shutil.copy(run / name, of_cell)
    return folder


def cell_of(row):
    test = {key.removeprefix("test_"): float(row[key]) for key in row if key.startswith("test_")}
    cost = {"seconds": float(row["seconds"]), "best_epoch": float(row["best_epoch"])}
    return {"arm": row["arm"], "seed": int(row["seed"]), "run": row["run"], **cost, "metrics": {"test": test}}


@pytest.fixture(scope="session")
def compared(comparison):
    """The page of the comparison, made once a session."""
    return make(comparison)


@pytest.fixture
def copied(run, tmp_path):
    return copy_of(run, tmp_path / "run")


def copy_of(run, folder):
    """A run without its heavy files."""
    return shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoints", "model.safetensors"))


@pytest.fixture(scope="session")
def hostile(run, tmp_path_factory):
    """The page of a run whose classes, texts, folder and settings hold what must stay text."""
    place = tmp_path_factory.mktemp("hostile")
    copied = copy_of(run, place / "run")
    names = tuple(f"{HOSTILE} {index}" for index in range(6))
    rng = np.random.default_rng(0)
    sizes = {"train": 120, "validation": 90, "test": 90}
    guessed = {name: guesses(size, rng) for name, size in sizes.items()}
    splits = {
        name: Split([f"{HOSTILE} {index}" for index in range(len(found.labels))], None, found.labels)
        for name, found in guessed.items()
    }
    predictions = {name: guessed[name] for name in ("validation", "test")}
    folder = place / "data <b>"
    columns = {"text": HOSTILE, "label": "label", "text_pair": None}
    data = Prepared(LabelMap(names), splits, columns, {}, {"name": HOSTILE, "settings": {}}).save(folder)
    record = {
        "source": data.source, "prepared": str(folder), "fingerprint": data.fingerprint, "columns": data.columns,
        "splits": sizes, "labels": list(names), "label_ids": {HOSTILE: names[0]},
        "classes": {split: dict.fromkeys(names, size // 6) for split, size in sizes.items()}, "left_out": {},
    }  # fmt: skip
    (copied / layout.DATA).write_text(with_checksum(record))
    cost = {"seconds": None, "steps": 3, "device": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    save_outputs(copied, predictions, cost)
    metrics = {name: classification_metrics(found.labels, found.probabilities) for name, found in predictions.items()}
    (copied / layout.METRICS).write_text(json.dumps(metrics))
    config = copied / layout.CONFIG
    run_source = load_config(str(config)).data.source
    config.write_text(config.read_text().replace(f"source: {run_source}", f"source: {json.dumps(HOSTILE)}"))
    return make(copied.rename(place / "<i>run&amp;"))
