"""Predict many files on a Ray cluster: a worker for each core or GPU keeps the model loaded and takes part after part.

The nodes share a file system, so that only names and counts are sent. This process hands out parts and collects counts.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rdrop_cli import threads
from rdrop_cli.core.executors import ray_cluster
from rdrop_cli.core.executors.part_cluster import Cluster, gpus_of_a_worker, room_for_workers
from rdrop_cli.core.executors.part_worker import NAME, PartWorker, WorkerReady
from rdrop_cli.core.progress import Notice, no_notice
from rdrop_cli.errors import ConfigError, DataError, ModelError, RDropError, one_line

if TYPE_CHECKING:
    from rdrop_cli.core.inference.load_options import LoadOptions
    from rdrop_cli.core.inference.part_prediction import Outcome, PartReading, PartsPlan
    from rdrop_cli.core.inference.part_records import PartRecord
    from rdrop_cli.core.inference.parts import Part, Parts
    from rdrop_cli.core.runs.checkpoint import Checkpoint

_MOST_DEATHS = 3
"""Of the workers that predict a part, or that load the model; after that it is not tried again."""
_MOMENT = 0.5
"""Seconds for which to wait for workers at a time, within which Ctrl-C is noticed."""
_PATIENCE = 10.0
"""Seconds without any worker after which this is said."""


@dataclass
class _Worker:
    """A worker, and what it was asked last: to load the model (`part` is None) or to predict a part."""

    actor: Any
    answer: Any
    part: Part | None = None
    opened: WorkerReady | None = None


class PartsOnRay:
    """Workers on a cluster, as a context manager that connects and disconnects.

    Args:
        checkpoint: A folder that all nodes have at the same place, or a hub id.
        parts: On a file system that all nodes have at the same place.
        most: The number of workers that have something to do.
        notice: Called with one sentence for whatever is worth knowing.

    Raises:
        ConfigError: Ray is missing or does not answer, versions differ, or no node is large enough.
    """

    def __init__(
        self,
        cluster: Cluster,
        checkpoint: Checkpoint,
        load_options: LoadOptions,
        parts: Parts,
        reading: PartReading,
        *,
        most: int,
        notice: Notice = no_notice,
    ) -> None:
        self.cluster, self.most, self.notice = cluster, most, notice
        self._checkpoint, self._load_options, self._reading = _absolute(checkpoint), load_options, reading
        self._parts = replace(parts, root=parts.root.absolute(), output=parts.output.absolute(), all=())
        self._ray = ray_cluster.require_ray()
        self._workers: list[_Worker] = []
        self._settings: dict[str, Any] | None = None
        self._deaths: Counter[str | None] = Counter()
        self._waits_since: float | None = None

    def __enter__(self) -> PartsOnRay:
        try:
            self._start()
        except BaseException:
            ray_cluster.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            self._kill(worker)
        ray_cluster.shutdown()
        for worker in self._workers:
            self._discard(worker)

    @property
    def count(self) -> int:
        """The number of workers."""
        return len(self._workers)

    def settings(self) -> dict[str, Any]:
        """What the predictions depend on, as the first worker that is ready says.

        Raises:
            RDropError: the model cannot be loaded.
        """
        while self._settings is None:
            for worker in self._answered():
                self._receive(worker)
        return self._settings

    def predict(self, plan: PartsPlan) -> Iterator[Outcome]:
        """Predict the pending parts, in order as far as workers are free.

        Raises:
            RDropError: the model fails, or nothing can be written.
        """
        pending = deque(plan.pending)
        left = len(pending)
        while left:
            for worker in self._workers:
                if pending and worker.opened is not None and worker.part is None:
                    self._hand_out(worker, pending.popleft())
            for worker in self._answered():
                part = worker.part
                result = self._receive(worker)
                if part is None:
                    continue
                if result is None:
                    pending.appendleft(part)
                    continue
                left -= 1
                yield plan.outcome(part, result)

    def _start(self) -> None:
        self.cluster.check()
        ray_cluster.connect(self.cluster.address)
        ray_cluster.check_versions()
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        self._gpus = gpus_of_a_worker(self.cluster, self._load_options, nodes)
        if not self._gpus and self._load_options.device == "auto":
            self._load_options = replace(self._load_options, device="cpu")
        room = room_for_workers(self.cluster.cpus, self._gpus, nodes)
        self._kind = self._ray.remote(num_cpus=self.cluster.cpus, num_gpus=self._gpus)(PartWorker)
        for _ in range(min(room, self.most)):
            self._add()

    def _add(self) -> None:
        actor = self._kind.remote(threads.requested_threads() or self.cluster.cpus, self._gpus > 0)
        answer = actor.open.remote(self._checkpoint, self._load_options, self._parts, self._reading)
        self._workers.append(_Worker(actor, answer))

    def _hand_out(self, worker: _Worker, part: Part) -> None:
        worker.part = part
        sent = replace(part, source=part.source.absolute(), target=part.target.absolute())
        worker.answer = worker.actor.predict.remote(sent)

    def _answered(self) -> list[_Worker]:
        """The workers that have answered; waits a moment for one."""
        asked = {worker.answer: worker for worker in self._workers if worker.answer is not None}
        ready, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0)
        if not ready:
            ready, _ = self._ray.wait(list(asked), num_returns=1, timeout=_MOMENT)
        self._tell_of_waiting()
        return [asked[answer] for answer in ready]

    def _receive(self, worker: _Worker) -> PartRecord | str | None:
        """What a worker has answered: of a part, or None if it is ready now or has died.

        Raises:
            RDropError: whatever would happen to other parts too.
        """
        answer, worker.answer = worker.answer, None
        try:
            reply = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            return self._bury(worker, _cause(error))
        if isinstance(reply, DataError) and worker.part is not None:
            worker.part = None
            return str(reply)
        if isinstance(reply, RDropError):
            raise reply
        if isinstance(reply, WorkerReady):
            self._welcome(worker, reply)
            return None
        worker.part = None
        record: PartRecord = reply
        return record

    def _welcome(self, worker: _Worker, opened: WorkerReady) -> None:
        """A worker has loaded the model.

        Raises:
            ConfigError: its predictions would differ from those of the others.
        """
        worker.opened = opened
        if self._settings is None:
            self._settings = opened.settings
            for text in opened.notices:
                self.notice(text)
        different = [name for name, value in self._settings.items() if opened.settings[name] != value]
        if different:
            shown = ", ".join(f"{name} {opened.settings[name]} instead of {self._settings[name]}" for name in different)
            raise ConfigError(
                f"Ray node {opened.node} would predict with {shown}", "Name --backend, --precision and --device."
            )

    def _bury(self, worker: _Worker, cause: str) -> str | None:
        """A worker has died; another takes its place.

        Returns:
            Why its part is given up; None: it is to be predicted again.

        Raises:
            ModelError: workers die while they load the model.
        """
        self._workers.remove(worker)
        self._kill(worker)  # it lives on where its own code has failed
        self._discard(worker)
        name = None if worker.part is None else worker.part.name
        self._deaths[name] += 1
        if name is None and self._deaths[name] >= _MOST_DEATHS:
            raise ModelError(f"{_MOST_DEATHS} Ray workers ended while they loaded the model ({cause})")
        self._add()
        if worker.part is None:
            return None
        where = f" on {worker.opened.node}" if worker.opened is not None else ""
        if self._deaths[name] >= _MOST_DEATHS:
            return f"{worker.part.source}: {_MOST_DEATHS} workers ended during its prediction ({cause})"
        self.notice(f"A worker{where} has ended; another predicts {worker.part.source}")
        return None

    def _kill(self, worker: _Worker) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker.actor)

    def _discard(self, worker: _Worker) -> None:
        """Remove what a worker that has ended was writing."""
        if worker.part is not None and worker.opened is not None:
            target = worker.part.target
            hidden = worker.opened.staging.replace(f".{NAME}.", f".{target.name}.", 1)
            with contextlib.suppress(OSError):
                target.with_name(hidden).unlink()

    def _tell_of_waiting(self) -> None:
        """Say once if there is no worker for a while, as in a cluster that is busy, or whose nodes are lost."""
        if any(worker.opened is not None for worker in self._workers):
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = time.monotonic()
        elif 0 < self._waits_since < time.monotonic() - _PATIENCE:
            self._waits_since = float("inf")
            self.notice("No worker is ready yet: the model is being loaded, or the cluster has no free CPU or GPU")


def _absolute(checkpoint: Checkpoint) -> Checkpoint:
    folder = Path(checkpoint.name)
    if not folder.is_dir():
        return checkpoint
    run = None if checkpoint.run is None else checkpoint.run.absolute()
    return replace(checkpoint, name=str(folder.absolute()), run=run)


def _cause(error: Exception) -> str:
    """Why a worker has ended: what its code raised, which Ray wraps, or what Ray says."""
    raised = getattr(error, "cause", None)
    return one_line(error) if raised is None else f"{type(raised).__name__}: {one_line(raised)}"
