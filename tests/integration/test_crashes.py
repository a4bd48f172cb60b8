"""Kills, power cuts, two trainings at once, a full disk: real processes; benchmarks/crash_test.py is the long form."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import make_reviews, write_csv
from training_runs import newest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "crash_test.py"
RDROP = [sys.executable, "-m", "rdrop_cli"]
SIZE = ["--max-length", "32", "--batch-size", "16", "--set", "train.tensorboard=false", "--precision", "float32"]


def counts_of_the_crash_test(*options):
    command = [sys.executable, SCRIPT, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("│")[1:3] for line in done.stdout.splitlines() if line.startswith("│")]
    return {name.strip(): int(count.replace(",", "")) for name, count in rows}


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_whatever_stops_a_training_it_ends_as_if_left_in_peace():
    counts = counts_of_the_crash_test("--kills", "2", "--faults", "60")
    assert counts["killed"] == 2
    assert counts["faults"] >= 5
    assert counts["told"] >= counts["faults"] / 2
    assert counts["resumed"] >= counts["told"] - 2  # the first faults stop a training before it is one
    assert counts["lost"] == counts["different"] == counts["not one line"] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_what_a_power_cut_leaves_is_resumed_and_ends_as_if_left_in_peace():
    counts = counts_of_the_crash_test("--power-cuts", "10", "--trained", "1")
    assert counts["power cuts opened"] == 10
    assert counts["trained to the end"] == 1
    assert counts["resumed"] >= 3
    assert counts["lost"] == counts["different"] == 0


@pytest.fixture
def running(tiny_model, tmp_path):
    """A training that never ends, and has saved already."""
    data = write_csv(tmp_path / "reviews.csv", make_reviews(60))
    command = [*RDROP, "train", data, "--model", tiny_model, *SIZE, "--out", "run", "--epochs", "100000"]
    endless = [*map(str, command), "--set", "train.early_stopping.patience=0"]
    with subprocess.Popen(endless, stdout=subprocess.PIPE, text=True) as process:
        try:
            while not list(tmp_path.glob("run/checkpoints/checkpoint-*")):
                assert process.poll() is None
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def test_one_training_at_a_time_and_no_lock_is_left_by_a_killed_one(running, rdrop, tiny_model, tmp_path):
    anew = ["train", tmp_path / "reviews.csv", "--model", tiny_model, *SIZE, "--out", "run", "--overwrite"]
    for command in (["train", "--resume", "--out", "run"], anew):
        began = time.perf_counter()
        assert "run: another process is writing to this folder" in rdrop.error(*command)
        assert time.perf_counter() - began < 2, "at once"

    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    step = newest(tmp_path / "run").name.rpartition("-")[2]
    said = ""
    with subprocess.Popen([*RDROP, "train", "--resume", "--out", "run"], stdout=subprocess.PIPE, text=True) as again:
        try:
            while "validation:" not in said:
                line = again.stdout.readline()
                assert line, said
                said += line
        finally:
            again.kill()
    assert f"Resuming from step {int(step):,}" in said


def can_mount():
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    try_it = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    return subprocess.run(try_it, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="a file system of its own cannot be mounted here")
def test_a_disk_that_fills_up_and_is_enlarged(tiny_model, tmp_path):
    """A real one: the second checkpoint does not fit, until there is room."""
    write_csv(tmp_path / "reviews.csv", make_reviews(60))
    (tmp_path / "disk").mkdir()
    train = [
        *RDROP,
        "train",
        str(tmp_path / "reviews.csv"),
        "--model",
        str(tiny_model),
        *SIZE,
        "--no-export",
        "--out",
        "run",
    ]
    script = """
    mount -t tmpfs -o size=560k tmpfs disk && cd disk || exit 3
    "$@" >&2; echo "$?"
    ls -A run/checkpoints
    mount -o remount,size=64m . && "$1" "$2" "$3" train --resume --no-export --out run >&2; echo "$?"
    ls -A run
    """
    command = ["unshare", "-rm", "sh", "-c", script, "sh", *train, "--epochs", "3", "--set", "train.early_stopping.patience=0"]  # fmt: skip  # noqa: E501
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "Traceback" not in done.stderr
    assert len(errors) == 1, done.stderr
    assert "cannot be written (" in errors[0]
    assert errors[0].endswith("then resume with: rdrop train --resume --out run")
    first, *found = done.stdout.split()
    assert first == "1"
    assert "0" in found
    assert "checkpoint-3" in found
    assert "metrics.json" in found
    assert not [name for name in found if "partial" in name]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_a_kill_during_the_export_leaves_a_finished_run(rdrop, tiny_model, tmp_path):
    data = write_csv(tmp_path / "reviews.csv", make_reviews(60))
    command = [*RDROP, "train", data, "--model", tiny_model, *SIZE, "--out", "run", "--epochs", "1"]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL) as process:
        try:
            while not (left := list(tmp_path.glob("run/best/.onnx.*.partial"))):
                assert process.poll() is None, "it ended before its export could be seen"
                time.sleep(0.01)
        finally:
            process.kill()
    assert (tmp_path / "run/metrics.json").is_file()
    assert not (tmp_path / "run/best/onnx").exists()
    assert rdrop.json("predict", "a great movie", "--checkpoint", "run", "--backend", "auto")["predictions"]
    assert rdrop.json("runs", "verify", "./run")["runs"][0]["outcome"] == "intact"
    rdrop("export", "run")
    assert not left[0].exists()
    assert (tmp_path / "run/best/onnx/model.onnx").is_file()
