"""Jobs, progress and errors as lines between processes."""

import json
from pathlib import Path

import pytest

from rdrop_cli.config import load_config
from rdrop_cli.core.executors.base import Job
from rdrop_cli.core.executors.messages import (
    ForwardingObserver,
    error_as_message,
    error_from_message,
    job_as_text,
    job_from_text,
    pass_on,
)
from rdrop_cli.core.training.observer import Observer
from rdrop_cli.errors import DataError, ModelError, TrainingInterrupted
from training_runs import PLAN


def test_a_job_is_the_same_after_the_way():
    config = load_config("starter", [("train.lr", 3e-5), ("data.label_map", {"ü": "a\nb"})])
    for job in (
        Job("a seed 1", Path("x/ü"), config, "f"),
        Job("a", Path("x"), config, "f", "b", "w", Path("m"), Path("p")),
    ):
        text = job_as_text(job)
        assert "\n" not in text
        assert job_from_text(text) == job


def test_everything_that_a_training_tells_arrives():
    told = []

    class Notes(Observer):
        def __getattribute__(self, name):
            return lambda *values: told.append((name, values))

    sender = ForwardingObserver(lambda message: pass_on(json.loads(json.dumps(message)), Notes()))
    sender.stage("Reading", 1, None)
    sender.plan(PLAN)
    sender.step(3)
    sender.log({"loss": float("inf"), "step": 3})
    sender.micro_batch(4)
    sender.notice("odd")
    sender.evaluating(2)
    assert told == [
        ("stage", ("Reading", 1, None)),
        ("plan", (PLAN,)),
        ("step", (3,)),
        ("log", ({"loss": float("inf"), "step": 3},)),
        ("micro_batch", (4,)),
        ("notice", ("odd",)),
        ("evaluating", (2,)),
    ]


@pytest.mark.parametrize("error", [DataError("a: b", "do c"), ModelError("x"), TrainingInterrupted("stopped")])
def test_an_error_keeps_its_kind_and_its_words(error):
    arrived = error_from_message(json.loads(json.dumps(error_as_message(error))))
    assert (type(arrived), arrived.message, arrived.hint) == (type(error), error.message, error.hint)


def test_an_error_that_nobody_foresaw_is_called_internal():
    assert error_from_message(error_as_message(KeyError("x"))).message == "internal error: KeyError: 'x'"
