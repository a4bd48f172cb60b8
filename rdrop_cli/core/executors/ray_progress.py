"""Progress of runs on a Ray cluster: an actor collects what the nodes tell, and the driver takes it from there.

It is only shown, so nothing depends on it: what is lost with the actor's node is not told again. Imports nothing heavy.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from typing import Any

_PROGRESS_EVENTS = ("place", "plan", "step", "log", "evaluating")
_STARTING = 60.0
"""Seconds for which the actor's start is awaited. On a busy machine it takes longer than a short run."""
_SECONDS = 0.5
"""At most one number of a step, or of a batch of an evaluation, is sent in this time."""


class Collector:
    """The actor's class."""

    def __init__(self) -> None:
        self._messages: list[tuple[str, dict[str, Any]]] = []

    def tell(self, run: str, message: dict[str, Any]) -> None:
        """Keep a message of a run until it is taken."""
        self._messages.append((run, message))

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """The messages since the last call, each with its run."""
        messages, self._messages = self._messages, []
        return messages


class ProgressOfRun:
    """Sends what `ForwardingObserver` tells of one run to the collector.

    Args:
        run: Its folder on the driver.
        collector: The actor's handle; None: nothing is sent.
    """

    def __init__(self, run: str, collector: Any) -> None:
        self._run, self._collector = run, collector
        self._sent = 0.0
        self._step: Mapping[str, Any] | None = None

    def begin(self) -> None:
        """Tell on which machine the run is trained."""
        self.pass_on({"event": "place", "values": [platform.node()]})

    def pass_on(self, message: Mapping[str, Any]) -> None:
        """Send a message if it is about progress."""
        if self._collector is None or message["event"] not in _PROGRESS_EVENTS:
            return
        if message["event"] == "step" or (message["event"] == "evaluating" and message["values"] != [0]):
            now = time.monotonic()
            if now - self._sent < _SECONDS:
                self._step = message if message["event"] == "step" else self._step
                return
            self._sent = now
        if self._step is not None and message["event"] != "step":  # the last one before an evaluation
            self._collector.tell.remote(self._run, dict(self._step))
        self._step = None
        self._collector.tell.remote(self._run, dict(message))


class ProgressOfRuns:
    """The driver's side.

    Args:
        ray: The module, connected.
    """

    def __init__(self, ray: Any) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        made = ray.remote(num_cpus=0, max_restarts=-1)(Collector).options(scheduling_strategy=here)
        self._ray = ray
        self.collector = made.remote()
        self._answer = self.collector.take.remote()

    def wait_for_start(self) -> None:
        """Wait until messages can be collected, so that those of the first runs are not taken too late."""
        self._ray.wait([self._answer], timeout=_STARTING)

    def take(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What has been told since the last call, without waiting for it."""
        if not self._ray.wait([self._answer], timeout=0)[0]:
            return
        answer, self._answer = self._answer, self.collector.take.remote()
        try:
            yield from self._ray.get(answer)
        except self._ray.exceptions.RayError:  # the actor is being started again on another node
            return
