"""`rdrop compare --on local:N`: several processes, the same results, and whatever ends one of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from comparison_runs import Told, runs_of, workers
from rdrop_cli.config import dump_config
from rdrop_cli.core.executors.local import LocalWorkers
from rdrop_cli.errors import ModelError, TrainingInterrupted

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
ENDLESS = {"train.epochs": 100_000}


def test_two_processes_give_what_one_gives_even_if_one_of_them_is_killed(comparisons):
    told = Told(at_first_row=lambda: workers()[0].kill())
    found = comparisons.make("there", LocalWorkers(2), told)
    assert runs_of("there") == runs_of("here")
    assert found == comparisons.results
    assert sorted(told.ended_cells) == ["plain seed 42", "plain seed 43", "rdrop seed 42", "rdrop seed 43"]
    (killed,) = [notice for notice in told.notices if "SIGKILL" in notice]
    assert "seed 42: Its process was ended by SIGKILL; the run continues in another" in killed
    assert not workers()


def test_workers_end_with_a_killed_comparison_and_the_next_one_trains_only_the_rest(comparisons):
    comparisons.copy("cut", "plain/seed42", "rdrop/seed42")
    Path("same.yaml").write_text(dump_config(comparisons.settings()))
    arms = ["--arms", "plain,rdrop", "--seeds", "2", "--out", "cut", "--on", "local:1", "--quiet"]
    command = [sys.executable, "-m", "rdrop_cli", "compare", "--config", "same.yaml", *arms]
    with subprocess.Popen(command, start_new_session=True) as process:
        cells = {Path("cut/plain/seed43"), Path("cut/rdrop/seed43")}  # the one that takes longer is the first
        while not all((cell / "config.yaml").exists() for cell in cells):
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        left = workers(process.pid)
        process.kill()
    assert left
    assert not psutil.wait_procs(left, timeout=10)[1]
    (first,) = (cell for cell in cells if (cell / "metrics.json").is_file())
    (second,) = cells - {first}
    before = (first / "metrics.json").stat().st_mtime_ns
    told = Told()
    assert comparisons.make("cut", LocalWorkers(1), told) == comparisons.results
    assert told.ended_cells == [f"{second.parent.name} seed 43"]
    assert (first / "metrics.json").stat().st_mtime_ns == before


def test_a_run_whose_process_is_killed_every_time_has_failed_and_the_others_are_trained(comparisons):
    killed = set()

    def kill(cell):
        # Steps that a killed process had reported before are handled later, so each process is killed only once.
        for process in workers():
            if cell == "endless seed 42" and process.pid not in killed:
                killed.add(process.pid)
                process.kill()

    told = Told()
    told.at_step = kill
    with pytest.raises(ModelError, match=r"endless seed 42 failed.* its process was ended by SIGKILL, 3 times"):
        comparisons.make("killed", LocalWorkers(1), told, names=["plain"], own=["endless:train.epochs=100000"], seeds=1)
    assert told.ended_cells == ["plain seed 42"]
    assert len(killed) == 3


def test_told_to_stop_the_processes_save_and_the_comparison_says_how_to_resume(comparisons):
    told = Told(at_first_row=lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(TrainingInterrupted, match=r"Stopped with 0 of 2 runs done\. Run the same command to resume"):
        comparisons.make("long", LocalWorkers(2), told, seeds=1, **ENDLESS)
    assert told.notices.count("stopping") == 1
    assert list(Path("long").glob("*/seed42/checkpoints/checkpoint-*"))
    assert not workers()


def test_a_second_signal_ends_everything_at_once(comparisons):
    def hang_and_interrupt():
        workers()[0].suspend()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        comparisons.make("hung", LocalWorkers(1), Told(hang_and_interrupt), seeds=1, **ENDLESS)
    assert not workers()


def test_a_run_that_fails_is_named_and_another_process_trains_the_others(comparisons):
    comparisons.copy("bad", "plain")
    told, trained_by = Told(), {}
    told.at_step = lambda cell: trained_by.update({cell: [worker.pid for worker in workers()]})
    with pytest.raises(ModelError, match="wild seed 42 failed, so there are no results yet: training failed: the loss"):
        comparisons.make(
            "bad",
            LocalWorkers(1),
            told,
            names=["plain"],
            own=["wild:train.lr=1e30,train.max_grad_norm=1e30", "mild:train.lr=1e-3", "milder:train.lr=1e-4"],
            seeds=1,
        )
    assert told.failures[0].startswith("wild seed 42: training failed: the loss became nan")
    assert told.ended_cells == ["mild seed 42", "milder seed 42"]
    assert not Path("bad/results.json").exists()
    # What a failure leaves in a process, such as a GPU that refuses all further work, must not reach the next run.
    assert trained_by["wild seed 42"] != trained_by["mild seed 42"] == trained_by["milder seed 42"]
    assert len(trained_by["mild seed 42"]) == 1
