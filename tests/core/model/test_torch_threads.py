"""The number of threads that a training takes, also on a busy machine, and that a resumed run keeps its own."""

import json
import os

import pytest
import torch

from rdrop_cli import threads
from rdrop_cli.core.model import torch_threads
from rdrop_cli.core.model.torch_threads import BusyTiming, Threads
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.training.observer import Observer
from rdrop_cli.core.training.run import TrainingRun
from rdrop_cli.errors import TrainingInterrupted
from training_runs import SignalAt, weights

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def on_a_machine_of_eight_cores(monkeypatch):
    """Nothing was asked for; PyTorch's number, the environment and what was found out are as before afterwards."""
    before = torch.get_num_threads()
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(threads, "usable_cores", lambda: 8)
    monkeypatch.setattr(torch_threads, "_own_default", lambda: 8)
    monkeypatch.setattr(torch_threads, "_measured", {8: None})
    yield
    torch.set_num_threads(before)


class Notices(Observer):
    def __init__(self):
        self.told = []

    def notice(self, message):
        self.told.append(message)


def settle(**options):
    told = []
    given = {"resume": False, "recorded": None, **options}
    return torch_threads.choose_threads(CPU, notice=told.append, **given), told


class Clock:
    """Stands for timing: what is said for short tries and for long ones, by number of threads; remembers the tries."""

    def __init__(self, short, long=None):
        self.short, self.long, self.tries = short, long or {}, []

    def __call__(self, count, seconds):
        self.tries.append((count, seconds > 0))
        found = (self.long if seconds else self.short)[count]
        return next(found) if hasattr(found, "__next__") else found


def test_a_quiet_machine_costs_one_short_look():
    clock = Clock({8: 1.0, 1: 6.0})
    assert torch_threads.measure_contention(8, time_with=clock) is None
    assert clock.tries == [(8, False), (1, False)] * 3


def test_one_slow_try_of_three_does_not_count():
    assert torch_threads.measure_contention(8, time_with=Clock({8: iter([99.0, 1.0, 1.0]), 1: 6.0})) is None


def test_what_a_short_look_suspects_a_longer_one_must_confirm_by_a_margin():
    clock = Clock({8: 9.0, 1: 6.0}, {8: 1.0, 1: 6.0})
    assert torch_threads.measure_contention(8, time_with=clock) is None
    assert len(clock.tries) == 12
    assert torch_threads.measure_contention(8, time_with=Clock({8: 9.0, 1: 6.0}, {8: 8.0, 1: 6.0})) is None


def test_a_busy_machine_gets_the_number_that_was_fastest():
    found = torch_threads.measure_contention(
        8, time_with=Clock({8: 9.0, 1: 6.0}, {8: 0.020, 4: 0.015, 2: 0.009, 1: 0.012})
    )
    assert found == BusyTiming(8, 0.020, 0.012, best=2)
    assert str(found) == (
        "The machine is busy: 8 threads are slower than one (20 ms instead of 12 ms), so this training uses 2; set"
        " --threads to override"
    )


def test_of_two_threads_one_is_left():
    clock = Clock({2: 9.0, 1: 6.0}, {2: 10.0, 1: 5.0})
    assert torch_threads.measure_contention(2, time_with=clock) == BusyTiming(2, 10.0, 5.0, best=1)
    assert len(clock.tries) == 12


def test_one_thread_is_not_compared_with_itself():
    assert torch_threads.measure_contention(1, time_with=lambda *_: pytest.fail("timed")) is None


def test_timing_draws_no_random_number_and_leaves_the_number_of_threads():
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    assert torch_threads.measure_contention(
        2, time_with=lambda count, _: torch_threads._time_with(count, 0.01) ** 0 * count
    )
    torch_threads.measure_contention(2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 2


def test_by_default_there_are_as_many_as_cores_and_no_more_than_pytorchs_own(monkeypatch):
    assert settle() == (Threads(8, "cores"), [])
    assert torch.get_num_threads() == 8
    monkeypatch.setattr(torch_threads, "_own_default", lambda: 4)
    monkeypatch.setattr(torch_threads, "_measured", {4: None})
    assert settle()[0].count == 4  # physical cores, where each can run two threads
    monkeypatch.setattr(threads, "usable_cores", lambda: 1)
    assert settle()[0].count == 1


def test_what_was_asked_for_is_taken_and_nothing_is_timed(monkeypatch):
    monkeypatch.setattr(torch_threads, "measure_contention", lambda _: pytest.fail("timed"))
    monkeypatch.setattr(torch_threads, "_measured", {})
    os.environ["OMP_NUM_THREADS"] = "3"
    assert settle() == (Threads(3, "asked"), [])
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("variables", "device"), [({"RANK": "0", "WORLD_SIZE": "2"}, "cpu"), ({}, "cuda")])
def test_nothing_is_timed_on_a_gpu_or_beside_other_processes(monkeypatch, variables, device):
    monkeypatch.setattr(torch_threads, "measure_contention", lambda _: pytest.fail("timed"))
    monkeypatch.setattr(torch_threads, "_measured", {})
    os.environ.update(variables)
    found = torch_threads.choose_threads(torch.device(device), resume=False, recorded=None, notice=pytest.fail)
    assert found == Threads(8, "cores")


def test_trainings_of_one_process_use_the_same_number_and_it_is_said_once(monkeypatch):
    looked = []
    monkeypatch.setattr(
        torch_threads, "measure_contention", lambda count: looked.append(count) or BusyTiming(8, 2.0, 1.0, best=2)
    )
    monkeypatch.setattr(torch_threads, "_measured", {})
    first, told = settle()
    second, told_again = settle()
    assert first == second == Threads(2, "busy")
    assert looked == [8] and len(told) == 1 and told_again == []


def test_a_resumed_run_keeps_its_number_unless_another_is_asked_for():
    assert settle(resume=True, recorded=8) == (Threads(8, "run"), [])
    found, told = settle(resume=True, recorded=2)
    assert found == Threads(2, "run")
    assert told == ["This run continues with 2 threads, as before; set --threads to change that"]
    os.environ["OMP_NUM_THREADS"] = "3"
    found, told = settle(resume=True, recorded=2)
    assert found == Threads(3, "asked")
    assert len(told) == 1 and told[0].startswith("This run used 2 threads before and continues with 3,")
    assert settle(resume=True, recorded=3)[1] == []


def test_a_run_of_an_earlier_version_is_resumed_without_timing(monkeypatch):
    monkeypatch.setattr(torch_threads, "_measured", {8: BusyTiming(8, 2.0, 1.0, best=2)})
    assert settle(resume=True) == (Threads(8, "cores"), [])


def test_a_prediction_uses_no_more_than_there_are_cores_for(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    torch.set_num_threads(4)
    torch_threads.apply_thread_limit()
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    torch_threads.apply_thread_limit()
    assert torch.get_num_threads() == 1
    os.environ["OMP_NUM_THREADS"] = "3"
    torch_threads.apply_thread_limit()
    assert torch.get_num_threads() == 3


def test_a_training_records_its_threads_and_is_resumed_with_them_to_the_same_bits(config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch_threads, "_measured", {})
    monkeypatch.setattr(torch_threads, "measure_contention", lambda count: BusyTiming(count, 2.0, 1.0, best=1))
    notices = Notices()
    TrainingRun(config(), tmp_path / "whole", observer=notices).start()
    assert [line for line in notices.told if "busy" in line] == [str(BusyTiming(8, 2.0, 1.0, best=1))]
    cost = json.loads((tmp_path / "whole" / layout.COST).read_text())
    assert (cost["threads"], cost["threads_reason"]) == (1, "busy")

    with pytest.raises(TrainingInterrupted):
        TrainingRun(config(), tmp_path / "run", observer=SignalAt(3)).start()
    assert read_record(tmp_path / "run")["threads"] == 1
    monkeypatch.setattr(torch_threads, "_measured", {8: None})  # quiet by now
    TrainingRun(config(), tmp_path / "run", resume=True).start()
    cost = json.loads((tmp_path / "run" / layout.COST).read_text())
    assert (cost["threads"], cost["threads_reason"]) == (1, "run")
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "run")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_option_reaches_pytorch_and_the_run(rdrop, reviews, tiny_args, tmp_path):
    rdrop("train", reviews, *tiny_args, "--epochs", "1", "--threads", "2", "--out", tmp_path / "run")
    assert read_record(tmp_path / "run")["threads"] == torch.get_num_threads() == 2
    assert "threads" not in (tmp_path / "run" / layout.CONFIG).read_text()

    rdrop("predict", "great", "--checkpoint", tmp_path / "run", "--threads", "1")
    assert torch.get_num_threads() == 1
    rdrop("evaluate", tmp_path / "run", "--threads", "2")
    assert torch.get_num_threads() == 2
