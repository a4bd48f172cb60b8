"""Several processes ask one another whether to stop now and then, and stop at the same step."""

from types import SimpleNamespace

import pytest

from rdrop_cli import processes
from rdrop_cli.core.training import callbacks
from rdrop_cli.core.training.callbacks import StopOnSignal
from rdrop_cli.core.training.observer import Observer

ARGS = SimpleNamespace(num_train_epochs=1)


@pytest.fixture
def two(monkeypatch):
    """As one of two processes; what is asked, and what the other answers: (asked to stop, seconds a step)."""
    asked, answers = [], {"stop": 0.0, "seconds": 0.0}
    monkeypatch.setattr(processes, "world_size", lambda: 2)

    def largest(*numbers):
        asked.append(numbers)
        return [max(numbers[0], answers["stop"]), max(*numbers[1:], answers["seconds"])]

    monkeypatch.setattr(processes, "largest", largest)
    return asked, answers


def steps_until_stop(stopper, first, last):
    for step in range(first, last):
        control = SimpleNamespace(should_save=False, should_training_stop=False, should_evaluate=True)
        stopper.on_step_end(ARGS, SimpleNamespace(max_steps=1000, global_step=step), control)
        if control.should_training_stop:
            return step
    return None


def test_short_steps_are_asked_about_every_tenth(two):
    asked, answers = two
    stopper = StopOnSignal(Observer())
    assert steps_until_stop(stopper, 1, 42) is None
    assert len(asked) == 5  # at 1, whose time is not known, at 2 and every tenth from there

    answers["stop"] = 1.0
    stopped = steps_until_stop(stopper, 42, 60)
    assert stopped is not None and stopped - 42 < 10


def test_long_steps_are_asked_about_more_often(two):
    asked, answers = two
    answers["seconds"] = 0.9
    steps_until_stop(StopOnSignal(Observer()), 1, 21)
    assert len(asked) == 11
    answers["seconds"] = 30.0
    asked.clear()
    steps_until_stop(StopOnSignal(Observer()), 1, 21)
    assert len(asked) == 20


def test_a_process_alone_looks_at_every_step():
    stopper = StopOnSignal(Observer())
    assert steps_until_stop(stopper, 1, 5) is None
    stopper._request(15, None)
    assert steps_until_stop(stopper, 5, 10) == 5
    assert callbacks._STEPS_TO_ASK == 10
