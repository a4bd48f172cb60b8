"""Progress of runs on a Ray cluster, without a cluster: what is sent, how often, and in which order it is taken."""

import platform

from rdrop_cli.core.executors import ray_progress
from rdrop_cli.core.executors.ray_progress import Collector, ProgressOfRun


class Handle:
    """An actor's handle, as Ray makes one for the collector."""

    def __init__(self):
        self.actor = Collector()
        self.tell = type("Method", (), {"remote": self.actor.tell})


def test_steps_are_sent_now_and_then_and_everything_else_always(monkeypatch):
    clock = iter([10.0, 10.1, 10.2, 10.7])
    monkeypatch.setattr(ray_progress.time, "monotonic", lambda: next(clock))
    handle = Handle()
    progress = ProgressOfRun("plain/seed42", handle)
    progress.begin()
    for step in (1, 2):
        progress.pass_on({"event": "step", "values": [step]})
    progress.pass_on({"event": "evaluating", "values": [1]})
    progress.pass_on({"event": "evaluating", "values": [0]})  # its end
    progress.pass_on({"event": "step", "values": [3]})
    progress.pass_on({"event": "notice", "values": ["comes with the result"]})
    told = [(message["event"], message["values"]) for run, message in handle.actor.take() if run == "plain/seed42"]
    assert told == [("place", [platform.node()]), ("step", [1]), ("step", [2]), ("evaluating", [0]), ("step", [3])]
    assert handle.actor.take() == []


def test_without_a_collector_nothing_is_sent():
    ProgressOfRun("plain/seed42", None).begin()
