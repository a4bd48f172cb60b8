"""The benchmarks run, and the README says what their kept results say."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMPARISONS = sorted((ROOT / "benchmarks" / "results" / "comparisons").glob("*.json"))
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def test_training_speed_runs_with_a_tiny_model():
    script = ROOT / "benchmarks" / "training_speed.py"
    shape = ["--model", "tiny", "--batches", "2", "--rounds", "1", "--examples", "100"]
    done = subprocess.run([sys.executable, script, *shape], capture_output=True, text=True, check=True, timeout=300)

    for arm in ("stock plain", "stock R-Drop", "rdrop"):
        assert f"round 1: {arm}" in done.stdout
    assert "bfloat16 products" in done.stdout


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_readme_shows_the_kept_results(path):
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["command"].removesuffix(" --save") in README
    figures = []
    for row in kept.get("arms", {}).values():
        figures += [f"{row['examples_per_second']:.1f}", f"{row['rdrop_is_faster_by']:.2f}"]
    if "texts_per_second" in kept:
        figures += [f"{value:.1f}" for value in kept["texts_per_second"].values()]
        figures.append(f"{kept['rdrop_is_faster_by']:.2f}")
    if "mean_f1_difference" in kept:
        figures += [f"{value:+.4f}" for value in (kept["mean_f1_difference"], *kept["interval_95"])]
        figures += [f"{run[arm]:.4f}" for run in kept["runs"] for arm in ("fast_f1", "plain_f1")]
    for figure in figures:
        assert figure in README, f"{path.name}: {figure}"


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.stem)
def test_the_readme_shows_the_kept_comparisons_as_they_came_out(path):
    kept = json.loads(path.read_text(encoding="utf-8"))
    script = [sys.executable, ROOT / "benchmarks" / "evidence.py", "--show", path.stem]
    shown = subprocess.run(script, capture_output=True, text=True, check=True).stdout.strip()
    assert kept["command"] in shown
    assert shown in README
    with path.with_suffix(".csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(kept["arms"]) * len(kept["seeds"])
    for arm, found in kept["arms"].items():
        values = [float(row["test_f1"]) for row in rows if row["arm"] == arm]
        assert found["metrics"]["f1"]["mean"] == pytest.approx(sum(values) / len(values))


def test_what_the_starters_settings_rest_on_is_validation():
    with (COMPARISONS[0].parent / "rotten-tomatoes.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    recipe = (ROOT / "configs" / "starter.yaml").read_text(encoding="utf-8")
    for arm in ("plain", "rdrop+smoothing", "rdrop-alpha1+smoothing"):
        values = [float(row["validation_f1"]) for row in rows if row["arm"] == arm]
        mean = f"{sum(values) / len(values):.4f}"
        assert mean in README and mean in recipe
