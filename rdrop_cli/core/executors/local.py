"""Train jobs in several processes on this machine."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from rdrop_cli import threads
from rdrop_cli.core.executors.base import Job, JobResult
from rdrop_cli.core.executors.messages import error_from_message, pass_on
from rdrop_cli.core.executors.worker_process import MORE_TRIES, WorkerProcess, environment
from rdrop_cli.errors import ModelError, StorageError, TrainingInterrupted, one_line

if TYPE_CHECKING:
    from rdrop_cli.core.training.observer import Observer

_Message: TypeAlias = "tuple[_Worker, WorkerProcess, dict[str, Any] | None]"
_MOMENT = 0.2
"""Seconds for which `poll` waits, and within which a signal is noticed."""


class LocalWorkers:
    """An executor with a number of processes on this machine.

    The cores are divided among them, unless --threads or OMP_NUM_THREADS says how many threads each has; with several
    GPUs, each process sees one.

    Args:
        count: How many runs are trained at the same time.
    """

    in_process = False
    is_here = True
    saves = os.name != "nt"
    """Windows cannot ask a process to save."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.threads = threads.requested_threads() or max(1, threads.usable_cores() // count)
        self._workers = [_Worker(slot) for slot in range(count)]
        self._processes: set[WorkerProcess] = set()
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._stopping = False

    def open(self) -> None:
        """Nothing is needed."""

    def slots(self) -> int:
        """The number of processes."""
        return self.count

    def submit(self, job: Job, observer: Observer) -> None:
        """Give the job to a free process, which is started if need be.

        Raises:
            StorageError: the system refuses to start one.
        """
        worker = next(worker for worker in self._workers if worker.training is None)
        training = _Training(job, observer)
        self._train(worker, training)
        worker.training = training

    def poll(self) -> list[JobResult]:
        """Wait for a moment, pass on progress, and return the jobs that have ended."""
        ended: list[JobResult] = []
        with contextlib.suppress(queue.Empty):
            message = self._messages.get(timeout=_MOMENT)
            while True:
                ended += self._take(*message)
                message = self._messages.get_nowait()
        return ended

    def cancel(self) -> None:
        """Ask the processes to save and stop, as a training does after a signal."""
        if not self._stopping:
            self._stopping = True
            for process in self._processes:
                process.stop()

    def close(self) -> None:
        """Kill the processes, and wait until they are gone, so that their locks are released."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()
        self._workers = [_Worker(slot) for slot in range(self.count)]

    def _train(self, worker: _Worker, training: _Training) -> None:
        wanted = self._environment(worker.slot, training.job)
        if worker.process is not None and worker.process.environment != wanted:
            worker.process.kill()  # it has nothing to do
            worker.process = None
        if worker.process is None:
            try:
                worker.process = WorkerProcess(wanted)
            except OSError as error:
                raise StorageError(f"{training.job.name}: no process can be started ({one_line(error)})") from error
            self._processes.add(worker.process)
            threading.Thread(target=self._read, args=(worker, worker.process), daemon=True).start()
        worker.process.train(training.job)

    def _read(self, worker: _Worker, process: WorkerProcess) -> None:
        for message in process.messages():
            self._messages.put((worker, process, message))
        self._messages.put((worker, process, None))

    def _take(self, worker: _Worker, process: WorkerProcess, message: dict[str, Any] | None) -> list[JobResult]:
        """Handle a message, or the end of a process (None)."""
        training = worker.training
        if message is None:
            self._processes.discard(process)
            cause = process.wait()
            if process is not worker.process:
                return []
            worker.process = None
            return self._continue(worker, training, cause) if training is not None else []
        assert training is not None
        if "event" in message:
            pass_on(message, training.observer)
            return []
        worker.training = None
        if "error" not in message:
            return [JobResult(training.job)]
        worker.process = None  # it is about to end
        return [JobResult(training.job, error_from_message(message))]

    def _continue(self, worker: _Worker, training: _Training, cause: str) -> list[JobResult]:
        """Train the rest of a run whose process has ended, unless that has happened too often."""
        if not self._stopping and training.repeated < MORE_TRIES:
            training.repeated += 1
            times = f"repetition {training.repeated} of at most {MORE_TRIES}"
            training.observer.notice(f"Its process {cause}; the run continues in another from what was saved ({times})")
            try:
                self._train(worker, training)
            except StorageError as error:
                worker.training = None
                return [JobResult(training.job, error)]
            return []
        worker.training = None
        name = training.job.name
        return [
            JobResult(training.job, TrainingInterrupted(f"{name}: stopped"))
            if self._stopping
            else JobResult(training.job, ModelError(f"its process {cause}, {MORE_TRIES + 1} times"))
        ]

    def _environment(self, slot: int, job: Job) -> dict[str, str]:
        gpus = _gpus()
        if len(gpus) < 2 or ":" in job.config.train.device:  # cuda:1 is the user's own choice
            return environment(self.threads)
        return environment(self.threads, CUDA_VISIBLE_DEVICES=gpus[slot % len(gpus)])


@dataclass
class _Training:
    """A job that is being trained, perhaps again."""

    job: Job
    observer: Observer
    repeated: int = 0


@dataclass
class _Worker:
    """A place for a process, which stays for the next job, and what it trains."""

    slot: int
    process: WorkerProcess | None = None
    training: _Training | None = None


def _gpus() -> list[str]:
    """The CUDA devices that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return named[:count] if len(named) >= count else [str(index) for index in range(count)]
