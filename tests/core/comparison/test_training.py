"""Training a comparison's cells with an executor: signals where nothing can be saved, and the words about failures."""

import os
import signal
import time
from pathlib import Path

import pytest

from comparison_runs import Told
from rdrop_cli.config import load_config
from rdrop_cli.core.comparison.arms import make_arms
from rdrop_cli.core.comparison.grid import make_cells
from rdrop_cli.core.comparison.observer import ComparisonPlan
from rdrop_cli.core.comparison.training import no_results, train_cells
from rdrop_cli.core.executors.base import Job, JobResult
from rdrop_cli.errors import CheckpointError, DataError, ModelError, StorageError, TrainingInterrupted


class Elsewhere:
    """Ends two jobs at a time, as it was told."""

    in_process = is_here = saves = False

    def __init__(self, errors=None, at_poll=lambda: None):
        self.errors, self.at_poll, self.jobs, self.stopped = errors or {}, at_poll, [], False

    def slots(self):
        return 2

    def submit(self, job, observer):
        self.jobs.append(job)

    def poll(self):
        self.at_poll()
        jobs, self.jobs = self.jobs, []
        stopped = TrainingInterrupted("stopped") if self.stopped else None
        return [JobResult(job, stopped or self.errors.get(job.name)) for job in jobs]

    def cancel(self):
        self.stopped = True


def finished(cell):
    return type("Result", (), {"arm": cell.arm.name, "seed": cell.seed})


def train(executor, told, seconds=(1.0,) * 4, finish=finished, **plan):
    cells = make_cells(make_arms(load_config("starter"), ["plain", "rdrop"], [], "steps"), [1, 2], Path("x"))
    made = ComparisonPlan(cells, list(seconds), 0, at_once=2, **plan)
    return train_cells(made, executor, told, lambda cell: Job(cell.name, cell.folder, cell.config, ""), finish)


def test_elsewhere_the_longest_cells_begin_first_and_the_first_shows_the_pace_of_the_rest():
    told, left = Told(), []
    told.ended = lambda result, seconds_left: left.append((result.arm, result.seed, seconds_left))
    executor = Elsewhere(at_poll=lambda: time.sleep(0.02))
    train(executor, told, seconds=[1.0, 2.0, 1.0, 2.0], is_timed=False)
    assert [(arm, seed) for arm, seed, _ in left] == [("rdrop", 1), ("rdrop", 2), ("plain", 1), ("plain", 2)]
    assert 0 < left[1][2] < 1.0 and left[-1][2] == 0


def test_a_signal_says_that_what_is_in_training_is_not_saved():
    told = Told()
    executor = Elsewhere()
    executor.at_poll = lambda: os.kill(os.getpid(), signal.SIGINT) if not executor.stopped else None
    with pytest.raises(TrainingInterrupted, match="Stopped with 2 of 4 runs done"):
        train(executor, told)
    assert told.notices == [": Stopping; finished runs are kept, and those in training will begin again"]


def test_all_runs_that_failed_are_named_with_the_first_cause():
    told = Told()
    errors = {"plain seed 2": DataError("odd data", "Do x."), "rdrop seed 1": ModelError("out of memory")}
    error = no_results(train(Elsewhere(errors), told))
    assert isinstance(error, ModelError)
    assert error.message == (
        "rdrop seed 1, plain seed 2 failed, so there are no results yet; rdrop seed 1: out of memory"
    )
    assert told.ended_cells == ["plain seed 1", "rdrop seed 2"]
    assert told.failures == ["rdrop seed 1: out of memory", "plain seed 2: odd data"]


def test_a_run_that_cannot_begin_or_be_read_is_named_and_the_others_are_trained():
    class Full(Elsewhere):
        def submit(self, job, observer):
            if job.name == "rdrop seed 2":
                raise StorageError("no process can be started")
            super().submit(job, observer)

    def read(cell):
        if cell.name == "plain seed 1":
            raise CheckpointError("damaged")
        return finished(cell)

    told = Told()
    assert set(train(Full(), told, finish=read)) == {"rdrop seed 2", "plain seed 1"}
    assert told.ended_cells == ["rdrop seed 1", "plain seed 2"]
    assert told.failures == ["plain seed 1: damaged", "rdrop seed 2: no process can be started"]
