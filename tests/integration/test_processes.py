"""Two processes, started as torchrun starts them, against one."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from conftest import make_reviews, write_csv

SETTINGS = [
    "--epochs", "2", "--batch-size", "8", "--lr", "1e-4", "--max-length", "32", "--precision", "float32",
    "--set", "train.tensorboard=false", "--set", "train.log_steps=3", "--set", "rdrop.allow_zero_dropout=true",
    "--set", "train.class_weights={0: 1, 1: 4}",
    "--set", "model.config.hidden_dropout_prob=0.0", "--set", "model.config.attention_probs_dropout_prob=0.0",
]  # fmt: skip


def launch(count, *args, look_after=0.1):
    """A command line in `count` processes, or in one without a launcher.

    Args:
        look_after: Seconds until the launcher sees that a process has ended, and ends the others.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    launcher += ["--monitor-interval", str(look_after)] if count > 1 else []
    command = [sys.executable, *launcher, "-m", "rdrop_cli", *map(str, args)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def finish(process, code=0):
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
    return out, err


def history(run):
    with (run / "history.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def runs(tiny_model, tmp_path_factory):
    """The same training, with class weights, by one process and by two; 101 reviews leave ragged steps."""
    folder = tmp_path_factory.mktemp("processes")
    data = write_csv(folder / "reviews.csv", make_reviews(101))
    made = {}
    for count in (1, 2):
        out = folder / f"run{count}"
        process = launch(count, "train", data, "--model", tiny_model, *SETTINGS, "--no-export", "--out", out)
        made[count] = (out, *finish(process))
    return made


def test_two_processes_reach_the_weights_of_one(runs):
    one, two = (load_file(runs[count][0] / "best" / "model.safetensors") for count in (1, 2))

    assert len(history(runs[1][0])) > 6
    assert int(history(runs[1][0])[-1]["step"]) >= 20
    for name, weight in one.items():
        assert (two[name] - weight).abs().max() < 1e-5, name


def test_they_log_what_one_logs(runs):
    for one, two in zip(history(runs[1][0]), history(runs[2][0]), strict=True):
        assert one["step"] == two["step"]
        for name in ("loss", "ce", "grad_norm", "validation_accuracy", "validation_nll", "learning_rate"):
            if one[name]:
                assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-4, abs=1e-5), name


def test_they_print_one_table_and_leave_one_run(runs):
    run, out, _ = runs[2]

    assert out.count("Best epoch") == out.count("Run folder:") == out.count("Loading") == 1
    assert sorted(path.name for path in run.parent.iterdir() if path.name.startswith("run")) == ["run1", "run2"]
    assert not [path for path in run.rglob("*") if "partial" in path.name or "saving" in path.name]
    newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in newest.iterdir()}


def test_evaluate_and_predict_share_the_work_and_answer_once(runs, tmp_path):
    run = runs[1][0]
    alone, _ = finish(launch(1, "evaluate", run, "--json"))
    shared, _ = finish(launch(2, "evaluate", run, "--json"))
    assert shared == alone

    texts = write_csv(tmp_path / "texts.csv", make_reviews(150, seed=3))
    for count in (1, 2):
        finish(launch(count, "predict", "--checkpoint", run, "--input", texts, "--output", tmp_path / f"{count}.jsonl"))
    assert (tmp_path / "1.jsonl").read_text() == (tmp_path / "2.jsonl").read_text()


def endless(tiny_model, folder, **options):
    data = write_csv(folder / "reviews.csv", make_reviews(101))
    run = folder / "long"
    process = launch(2, "train", data, "--model", tiny_model, *SETTINGS, "--epochs", "100000", "--out", run,
                     "--set", "train.early_stopping.patience=0", **options)  # fmt: skip
    while not (run / "checkpoints").is_dir() or not any((run / "checkpoints").iterdir()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    return process, run


def children(process):
    listed = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return sorted(int(line) for line in listed.stdout.split())


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes with pgrep")
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_is_killed_the_other_ends_and_says_so(victim, tiny_model, tmp_path):
    process, _ = endless(tiny_model, tmp_path, look_after=4)  # so that the other sees it first
    os.kill(children(process)[victim], signal.SIGKILL)
    _, err = finish(process, code=1)

    assert "was killed or has failed" in err, err
    (line,) = (line for line in err.splitlines() if "was killed or has failed" in line)
    assert line.startswith("error: another of" if victim else "error: process 1: another of the 2 processes")
    assert "--resume" in line
    assert "rdrop_cli/core" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes with pgrep")
def test_an_interrupt_stops_both_at_one_step_and_they_can_go_on(tiny_model, tmp_path):
    process, run = endless(tiny_model, tmp_path, look_after=4)  # not before both have said what they have to say
    for child in children(process):
        os.kill(child, signal.SIGINT)
    _, err = finish(process, code=1)  # the launcher's own code
    assert err.count("and saved. Resume with: rdrop train --resume") == 1

    with launch(2, "train", "--resume", "--out", run) as again:
        time.sleep(1)
        while "step" not in (line := again.stdout.readline()):
            assert line, again.communicate()
        for child in children(again):  # they would outlive the launcher
            os.kill(child, signal.SIGKILL)
        again.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes with pgrep")
def test_a_process_that_hangs_is_ended_by_a_second_sigterm_but_not_by_the_same_one_twice(tiny_model, tmp_path):
    process, run = endless(tiny_model, tmp_path, look_after=60)
    stopped, hanging = children(process)
    try:
        os.kill(stopped, signal.SIGSTOP)
        time.sleep(1)  # the other now waits for it, in the middle of a step
        os.kill(hanging, signal.SIGTERM)
        time.sleep(0.5)
        os.kill(hanging, signal.SIGTERM)
        time.sleep(3)
        assert state_of(hanging) != "Z"
        os.kill(hanging, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while state_of(hanging) != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        os.kill(stopped, signal.SIGKILL)
        process.kill()
    _, err = process.communicate(timeout=60)
    assert err.count("ended by a second SIGTERM") == 1
    assert any((run / "checkpoints").iterdir())


def state_of(process):
    """As the kernel says it: Z has ended."""
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def test_a_batch_that_cannot_be_shared_is_refused_once(tiny_model, tmp_path):
    data = write_csv(tmp_path / "reviews.csv", make_reviews(40))
    _, err = finish(launch(2, "train", data, "--model", tiny_model, "--batch-size", "7"), code=1)

    assert err.count("train.batch_size 7 cannot be divided evenly among 2 processes") == 1
