"""`rdrop compare` as a user meets it."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import CLI, make_reviews, run_python, tiny_options, write_csv
from rdrop_cli.core.comparison import plot as picture

FAST = ["--epochs", "2"]


@pytest.fixture(scope="module")
def whole(tiny_model, tmp_path_factory):
    """A comparison of two seeds: the command's arguments, its folder, and its JSON document."""
    place = tmp_path_factory.mktemp("whole")
    data = write_csv(place / "reviews.csv", make_reviews(200))
    command = [data, *tiny_options(tiny_model), *FAST, "--arms", "plain,rdrop", "--seeds", "2"]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        document = CLI().json("compare", *command, "--out", "whole")
    return [str(part) for part in command], place / "whole", document


@pytest.fixture
def args(reviews, tiny_model):
    return [reviews, *tiny_options(tiny_model), *FAST]


def test_a_comparison_ends_with_tables_a_verdict_and_its_files(rdrop, args):
    shown = rdrop("compare", *args, "--arms", "plain,rdrop+smoothing", "--seeds", "2").stdout
    assert (
        "Arms   plain: alpha 0.0, label_smoothing 0.0\n       rdrop+smoothing: alpha 5.0, label_smoothing 0.1" in shown
    )
    assert "Runs   4 runs: 2 arms, seeds 42 to 43" in shown
    assert "To do  4 runs, about " in shown
    assert "[1/4] plain seed 42  validation: accuracy " in shown
    assert "[4/4] rdrop+smoothing seed 43" in shown
    assert "Test, 20 examples, means ± standard deviations of 2 seeds" in shown
    assert "rdrop+smoothing against plain" in shown
    assert "Calibration on test, raw and at the runs' temperatures" in shown
    assert "The mean probabilities of each arm's 2 runs, on test" in shown
    folder = Path("comparisons/reviews-tiny-bert")
    assert f"Results: {folder}: results.csv, results.json, results.md, results.png" in shown
    assert (folder / "results.png").read_bytes().startswith(b"\x89PNG")
    assert "test: accuracy" not in shown, "test metrics are not shown while it runs"
    report = (folder / "results.md").read_text()
    assert "| arm | its settings | accuracy | F1 | ROC-AUC | NLL | time a run |" in report
    assert "| rdrop+smoothing | rdrop.alpha 5.0, train.label_smoothing 0.1 | " in report
    document = json.loads((folder / "results.json").read_text())
    passes = "passes over each example (1: plain; 2: rdrop+smoothing); rdrop compare --budget compute makes that equal."
    assert passes in report and passes in shown
    assert f"\n* {document['verdict'][0]}\n" in report
    assert document["verdict"][0] in shown.splitlines()


def test_json_is_one_document_with_every_cell(rdrop, whole):
    _, folder, document = whole
    assert [(cell["arm"], cell["seed"]) for cell in document["cells"]] == [
        (arm, seed) for seed in (42, 43) for arm in ("plain", "rdrop")
    ]
    assert document == json.loads((folder / "results.json").read_text())
    with (folder / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for row, cell in zip(rows, document["cells"], strict=True):
        assert (row["arm"], int(row["seed"])) == (cell["arm"], cell["seed"])
        for name in ("accuracy", "f1", "roc_auc", "nll"):
            assert float(row[f"test_{name}"]) == cell["metrics"]["test"][name]
    gap = next(gap for gap in document["differences"] if gap["metric"] == "nll")
    nll = [cell["metrics"]["test"]["nll"] for cell in document["cells"]]
    pairs = [nll[index + 1] - nll[index] for index in (0, 2)]
    assert gap["difference"] == pytest.approx(sum(pairs) / 2)
    assert gap["interval_seeds"][0] < gap["difference"] < gap["interval_seeds"][1]
    assert len(document["verdict"]) == 1
    for arm, found in document["arms"].items():
        of_arm = [cell["calibrated"] for cell in document["cells"] if cell["arm"] == arm]
        for name in ("nll_calibrated", "brier_calibrated", "ece_calibrated", "temperature"):
            assert found["metrics"][name]["mean"] == pytest.approx(sum(cell[name] for cell in of_arm) / 2)
        assert set(document["ensembles"][arm]) == {*found["metrics"], "seeds", "disagreement"}
    evaluated = rdrop.json("evaluate", folder / document["cells"][0]["run"])
    assert evaluated["metrics"] == document["cells"][0]["metrics"]["test"], "a cell is an ordinary run"


def test_killed_at_any_moment_it_goes_on_without_repeating_a_cell(rdrop, whole):
    command, _, expected = whole
    process = subprocess.Popen(
        [sys.executable, "-m", "rdrop_cli", "compare", *command, "--out", "cut", "--quiet"], start_new_session=True
    )
    third = Path("cut/plain/seed43/config.yaml")
    while not third.exists():
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in Path("cut").glob("*/*/metrics.json")}
    assert sorted(map(str, done)) == ["cut/plain/seed42/metrics.json", "cut/rdrop/seed42/metrics.json"]
    found = rdrop.json("compare", *command, "--out", "cut")
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert [cell["metrics"] for cell in found["cells"]] == [cell["metrics"] for cell in expected["cells"]]
    for key in ("differences", "verdict"):
        assert found[key] == expected[key]


def test_interrupted_it_says_how_to_go_on(rdrop, args, monkeypatch):
    from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer

    def stop_at_once(self, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return step(self, *arguments)

    step = RDropTrainer.training_step
    with monkeypatch.context() as patched:
        patched.setattr(RDropTrainer, "training_step", stop_at_once)
        # Beside the forecast, which times steps without listening to signals
        patched.setattr("rdrop_cli.core.comparison.plan.time_cell", lambda *_: (0.1, 1000))
        result = rdrop("compare", *args, "--arms", "plain,rdrop", "--seeds", "1", code=130)
    assert "Stopped in plain seed 42 and saved. Run the same command to resume" in result.stderr
    shown = rdrop("compare", *args, "--arms", "plain,rdrop", "--seeds", "1").stdout
    assert "plain seed 42 resumes at step 1 of " in shown
    assert "[2/2] rdrop seed 42" in shown


def test_a_dry_run_forecasts_and_writes_nothing(rdrop, args):
    document = rdrop.json("compare", *args, "--seeds", "2", "--dry-run")
    assert (document["runs"], document["runs_left"]) == (8, 8)
    assert document["seconds"] > 0 and document["disk_bytes"] > 0
    assert not Path("comparisons").exists() and not Path("runs").exists()


def test_a_changed_setting_is_refused_before_anything_heavy_is_imported(whole):
    command = ["compare", *whole[0], "--out", str(whole[1])]
    code = (
        "import sys\n"
        "from rdrop_cli.app import app\n"
        f"try: app({[*command, '--alpha', '3']!r}, prog_name='rdrop')\n"
        "except SystemExit as stop: print('CODE', stop.code, 'torch' in sys.modules, 'scipy' in sys.modules)"
    )
    done = run_python(code)
    assert done.stdout == "CODE 1 False False\n"
    assert done.stderr.count("\n") == 1
    assert "rdrop/seed42: this run was trained with other settings: rdrop.alpha: 5.0 -> 3.0" in done.stderr
    assert "another --out" in done.stderr


def test_arms_train_all_their_epochs_whatever_validation_says(rdrop, reviews, tiny_model):
    command = ["compare", reviews, *tiny_options(tiny_model), "--epochs", "3", "--arms", "plain,rdrop", "--seeds", "1"]
    patient = rdrop.json(*command)
    assert [cell["steps"] for cell in patient["cells"]] == [30, 30]
    hasty = ["--set", "train.early_stopping.patience=1", "--set", "train.early_stopping.threshold=1", "--out", "hasty"]
    assert [cell["steps"] for cell in rdrop.json(*command, *hasty)["cells"]] == [20, 20]


def test_class_weights_of_an_arm_are_checked_before_the_first_is_trained(rdrop, args):
    line = rdrop.error("compare", *args, "--arms", "rdrop+smoothing", "--arm", "w:train.class_weights={0: 1}")
    assert line == "error: train.class_weights: no weight for '1'. Give every class a weight; 1 is a neutral one."
    assert not list(Path("comparisons").glob("*"))


def test_other_cells_in_the_folder_are_named(rdrop, whole):
    shutil.copytree(whole[1], "copy")
    shown = rdrop("compare", *whole[0], "--seeds", "1", "--out", "copy").stdout
    assert "Also trained here, but not compared now: plain seed 43, rdrop seed 43" in shown
    assert "One seed shows nothing; use --seeds 5 or more." in shown


def test_the_budget_of_compute_has_results_of_its_own(rdrop, args):
    command = [*args, "--arms", "plain,rdrop", "--seeds", "1"]
    rdrop("compare", *command, "--quiet")
    shown = rdrop("compare", *command, "--budget", "compute").stdout
    folder = Path("comparisons/reviews-tiny-bert")
    assert "plain-2x" in shown and "2 arms" in shown
    assert {path.name for path in folder.glob("results*.csv")} == {"results.csv", "results-compute.csv"}
    assert json.loads((folder / "results-compute.json").read_text())["arms"]["plain-2x"]["settings"] == {
        "rdrop.alpha": 0.0, "train.epochs": 4, "train.label_smoothing": 0.0,
    }  # fmt: skip


def test_without_matplotlib_it_says_what_a_picture_needs(rdrop, whole, monkeypatch):
    shutil.copytree(whole[1], "copy")
    Path("copy/results.png").unlink()
    monkeypatch.setattr(picture, "can_plot", lambda: False)
    shown = rdrop("compare", *whole[0], "--out", "copy").stdout
    assert "For a picture: pip install matplotlib" in shown
    assert not Path("copy/results.png").exists()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--seeds", "0"], "--seeds"),
        (["--budget", "time"], "--budget"),
        (["--arms", "plain"], "a comparison needs at least two arms"),
        (["--arms", "plain,rdorp"], "--arms rdorp: no such arm"),
        (["--arm", "x:train.lrr=1"], "unknown key train.lrr (did you mean train.lr?)"),
        (["--alpha", "0"], "arm rdrop: rdrop.alpha is 0"),
    ],
)
def test_bad_input_is_one_line(rdrop, args, extra, said):
    code = 2 if extra[0] in ("--seeds", "--budget") else 1
    result = rdrop("compare", *args, *extra, code=code)
    assert said in result.stderr and result.stderr.count("\n") == 1
    assert not Path("comparisons").exists()
