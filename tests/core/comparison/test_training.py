"""Training a comparison's cells with an executor: signals where nothing can be saved, and the words about failures."""

import os
import signal
from pathlib import Path

import pytest

from comparison_runs import Told
from rdrop_cli.config import load_config
from rdrop_cli.core.comparison.arms import make_arms
from rdrop_cli.core.comparison.grid import make_cells
from rdrop_cli.core.comparison.observer import ComparisonPlan
from rdrop_cli.core.comparison.training import no_results, train_cells
from rdrop_cli.core.executors.base import Ended, Job
from rdrop_cli.errors import DataError, ModelError, TrainingInterrupted


class Elsewhere:
    """Ends two jobs at a time, as it was told."""

    in_process = saves = False

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
        return [Ended(job, stopped or self.errors.get(job.name)) for job in jobs]

    def cancel(self):
        self.stopped = True


def train(executor, told):
    cells = make_cells(make_arms(load_config("starter"), ["plain", "rdrop"], [], "steps"), [1, 2], Path("x"))

    def finish(cell):
        return type("Result", (), {"arm": cell.arm.name, "seed": cell.seed})

    plan = ComparisonPlan(cells, [1.0] * 4, 0, at_once=2)
    return train_cells(plan, executor, told, lambda cell: Job(cell.name, cell.folder, cell.config, ""), finish)


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
