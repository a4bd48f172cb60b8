"""`rdrop runs`: what a user sees of runs, and what it takes to remove one."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import heavy_imports
from rdrop_cli.core.storage.lock import only_writer
from training_runs import harm, unfinished


@pytest.fixture
def run(finished_run):
    return shutil.copytree(finished_run, Path("runs/mine"))


@pytest.fixture
def asked(monkeypatch):
    """A terminal to ask on; `rdrop` is given the answer as its input."""
    monkeypatch.setattr("rdrop_cli.commands.asking.is_terminal", lambda: True)


@pytest.mark.parametrize("command", [[], ["list"], ["verify"]])
def test_without_runs_it_says_how_to_make_one(rdrop, command):
    assert rdrop("runs", *command).stdout == "No runs in runs yet. Make one with: rdrop train --alpha 5\n"
    assert rdrop.json("runs", *command)["runs"] == []
    assert not Path("runs").exists()


def test_runs_are_listed_with_their_results(rdrop, run):
    stopped = unfinished(shutil.copytree(run, Path("runs/stopped")))
    Path(shutil.copytree(run, "runs/broken"), "data.json").write_text("{")
    shown = rdrop("runs")
    lines = {line.split()[0]: line for line in shown.stdout.splitlines()}
    (listed,) = [entry for entry in rdrop.json("runs")["runs"] if entry["name"] == "mine"]
    values = [f"{listed['metrics']['test'][name]:.4f}" for name in ("accuracy", "f1", "roc_auc")]
    assert all(value in lines["mine"] for value in ["reviews.csv", " 2 ", "42", "finished", "KiB", *values])
    assert "unfinished 1/2" in lines["stopped"]
    assert "damaged" in lines["broken"]
    assert "runs/broken/data.json: cannot be read" in shown.stdout
    assert shown.stdout.splitlines()[-1].startswith("3 runs, ")
    with only_writer(stopped):
        assert "in use 2/2" in rdrop("runs", "list").stdout


def test_another_folder_and_what_is_not_listed(rdrop, run):
    shutil.copytree(run, "comparisons/x/plain/seed42")
    assert "Not listed: 1 run of comparisons. See: rdrop runs --dir comparisons" in rdrop("runs").stdout
    assert rdrop.json("runs")["not_listed"] == {"comparisons": 1}
    for folder, name in (("comparisons", "x/plain/seed42"), ("comparisons/x", "plain/seed42")):
        told = rdrop.json("runs", "--dir", folder)
        assert [entry["name"] for entry in told["runs"]] == [name]
        assert told["not_listed"] == {}
        assert rdrop.json("runs", "show", name, "--dir", folder)["run"] == "comparisons/x/plain/seed42"
    assert rdrop.error("runs", "--dir", "gone") == "error: gone: no such folder. Give a folder of runs with --dir."


def test_one_run_is_shown(rdrop, run):
    (run / "data.json").rename("data.json")
    shown = rdrop("runs", "show", "mine").stdout
    assert "runs/mine/data.json: file not found" in shown
    assert "Next: rdrop runs verify runs/mine" in shown
    Path("data.json").rename(run / "data.json")
    shown = " ".join(rdrop("runs", "show", "runs/mine").stdout.split())
    for part in (
        "State finished", "reviews.csv", "train 160, validation 20, test 20", "text 'text', label 'label'",
        "Labels 0, 1",
        "at most 32 tokens", "R-Drop, alpha 2 (cross-entropy mean; the paper's alpha 4)",
        "2 epochs, batch size 16, lr 0.01, seed 42",
        "chosen by validation f1", "of training", "CPU", "float32", "checkpoints", "ROC-AUC",
        "Next: rdrop evaluate runs/mine", "Next: rdrop predict --checkpoint runs/mine",
    ):  # fmt: skip
        assert part in shown
    assert "Next: rdrop train --resume --out runs/mine" in rdrop("runs", "show", str(unfinished(run))).stdout
    assert "gone: no such run in runs. Runs: mine." in rdrop.error("runs", "show", "gone")


def test_metrics_that_an_earlier_version_did_not_measure_are_dashes(rdrop, run):
    (run / "metrics.json").write_text('{"test": {"accuracy": 0.5}}')
    assert "0.5000" in rdrop("runs", "show", "mine").stdout
    assert "0.5000" in rdrop("runs").stdout


def test_removing_asks(rdrop, run, asked):
    (run / "diary.txt").touch()
    refused = rdrop("runs", "rm", "mine", stdin=b"n\n", code=1)
    assert "Remove 1 run and free " in refused.stderr
    assert "runs/mine: not part of a run, so kept: diary.txt" in refused.stdout
    assert (run / "config.yaml").is_file()
    assert "Removed 1 run; " in rdrop("runs", "rm", "mine", stdin=b"y\n").stdout
    assert [path.name for path in run.iterdir()] == ["diary.txt"]


def test_the_question_says_what_goes_whole(rdrop, run, asked):
    whole = "best/, checkpoints/ and tensorboard/ are removed with everything in them;"
    assert whole in rdrop("runs", "rm", "mine", stdin=b"n\n", code=1).stderr
    assert whole not in rdrop("runs", "rm", "--checkpoints", "mine", stdin=b"n\n", code=1).stderr
    assert whole.rstrip(";") in " ".join(rdrop("runs", "rm", "--help").stdout.split())


@pytest.mark.skipif(sys.platform == "win32", reason="opens a terminal")
def test_the_question_can_be_interrupted(run):
    ours, theirs = os.openpty()
    # What runs in the background of a script inherits that Ctrl-C is ignored.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from rdrop_cli.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code, "runs", "rm", "mine"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True) as process:
        said = ""
        while "[y/N]:" not in said and process.poll() is None:
            said += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1].strip() == "error: interrupted"
    assert process.returncode == 130
    assert run.is_dir()
    os.close(ours), os.close(theirs)


def test_an_answer_that_does_not_come_is_a_no(rdrop, run, asked):
    assert "Nothing was removed" in rdrop("runs", "rm", "mine", stdin=b"", code=1).stdout
    assert run.is_dir()


def test_of_a_link_only_the_link_is_removed(rdrop, run, tmp_path):
    run.rename(tmp_path / "elsewhere")
    run.symlink_to(tmp_path / "elsewhere")
    shown = rdrop("runs", "rm", "mine", "--yes").stdout
    assert f"runs/mine: a link to {tmp_path / 'elsewhere'}; only the link is removed" in shown
    assert "Removed 1 link; 0 KiB freed" in shown
    assert (tmp_path / "elsewhere/best").is_dir()


def test_a_comparison_is_said_to_be_out_of_date(rdrop, finished_run):
    for seed in (42, 43, 44):
        cell = shutil.copytree(finished_run, Path(f"comparisons/x/plain/seed{seed}"))
    (cell.parents[1] / ".lock").touch()
    for name in ("plain/seed42", "plain/seed43", "plain/seed44"):
        shown = rdrop("runs", "rm", name, "--dir", "comparisons/x", "--yes").stdout
        expected = (
            "comparisons/x/results.* still include this run; run the compare command again to update them" in shown
        )
        assert expected is (name != "plain/seed42")
        (cell.parents[1] / "results.json").touch()


def test_without_a_terminal_removing_takes_yes(rdrop, run):
    assert "give --yes" in rdrop.error("runs", "rm", "mine", code=2)
    assert run.is_dir()
    told = rdrop.json("runs", "rm", "mine", "--yes")
    assert told["removed"][0]["run"] == "runs/mine"
    assert told["bytes"] > 0
    assert not run.exists()


def test_checkpoints_alone_are_removed(rdrop, run):
    shown = rdrop("runs", "rm", "--checkpoints", "mine", "-y").stdout
    assert "Removed the checkpoints of 1 run" in shown
    assert not (run / "checkpoints").exists()
    assert rdrop("runs", "rm", "--checkpoints", "mine", "-y").stdout == "runs/mine: has no checkpoints\n"
    assert rdrop.json("runs", "rm", "--checkpoints", "mine", "-y")["removed"] == []
    rdrop("predict", "great movie", "--checkpoint", "mine")
    assert "this run has already finished" in rdrop.error("train", "--resume", "--out", "runs/mine")


def test_mistakes_remove_nothing(rdrop, run):
    Path("project").mkdir()
    Path("project/main.py").touch()
    assert "project: no such run in runs." in rdrop.error("runs", "rm", "mine", "project", "--yes")
    assert "project: is not a run, so nothing is removed" in rdrop.error("runs", "rm", "mine", "./project", "--yes")
    with only_writer(run):
        assert "being written by another process" in rdrop.error("runs", "rm", "mine", "--yes")
    assert (run / "best").is_dir()
    rdrop("runs", "rm", "--yes", code=2)


def test_verifying(rdrop, run):
    shutil.copytree(run, "runs/other")
    assert rdrop("runs", "verify").stdout.splitlines()[-1] == "2 runs: 2 intact"
    harm(run / "checkpoints/checkpoint-10/optimizer.pt")
    shown = rdrop("runs", "verify", code=1).stdout
    assert (
        "runs/mine/checkpoints/checkpoint-10: optimizer.pt has changed since it was written (its SHA-256 differs)"
        in shown
    )
    assert "rdrop runs rm --checkpoints runs/mine" in shown
    assert shown.splitlines()[-1] == "2 runs: 1 intact, 1 damaged"
    told = rdrop.json("runs", "verify", "mine", code=1)
    assert (told["damaged"], told["runs"][0]["outcome"]) == (1, "damaged")
    (run / "best/manifest.json").unlink()
    assert "runs/mine/best: no manifest, so it could not be checked" in rdrop("runs", "verify", "mine", code=1).stdout
    shutil.rmtree(run / "checkpoints")
    assert rdrop("runs", "verify").stdout.splitlines()[-1] == "2 runs: 1 intact, 1 not checked"
    with only_writer(run):
        shown = rdrop("runs", "verify").stdout
    assert "runs/mine: skipped, as it is being written now" in shown
    assert shown.splitlines()[-1] == "2 runs: 1 intact, 1 in use"


def test_names_are_shown_escaped(rdrop, run):
    run.rename("runs/\x1b[31m[bold]x")
    for arguments in ([], ["show", "\x1b[31m[bold]x"], ["verify"], ["rm", "\x1b[31m[bold]x", "--yes"]):
        shown = rdrop("runs", *arguments)
        assert "\\x1b[31m[bold]x" in shown.stdout
        assert "\x1b" not in shown.stdout + shown.stderr


def test_options_may_stand_before_the_command(rdrop, run):
    run.rename("runs/show")
    shutil.copytree("runs/show", "others/mine")
    assert rdrop.json("runs", "--dir", "others", "show", "mine")["run"] == "others/mine"
    assert rdrop.json("runs", "--dir", "runs", "--quiet", "verify", "show")["runs"][0]["outcome"] == "intact"
    assert "is a run, not a folder of runs" in rdrop.error("runs", "--dir", "runs/show")
    run.parent.joinpath("show").rename("show")
    assert "show: is a run, not a folder of runs" in rdrop.error("runs", "--dir", "show")


def test_usage(rdrop):
    assert "No such command" in rdrop.error("runs", "gone", code=2)
    assert "--dir" in rdrop("runs", "list", "--help").stdout
    text = rdrop("runs", "--help").stdout
    assert "--dir" in text.partition("Options")[0]
    assert text.count("rdrop runs") >= 6


@pytest.mark.parametrize("arguments", [["runs", "--help"], ["runs"], ["runs", "show", "mine"]])
def test_nothing_heavy_is_loaded(run, arguments):
    assert heavy_imports(arguments) == "[]"


def test_verifying_loads_nothing_heavy_but_what_reads_predictions(run):
    assert heavy_imports(["runs", "verify"]) in ("[]", "['pandas']")  # pyarrow may load it
