"""Train jobs in several processes on this machine, each in a fresh one."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rdrop_cli import threads
from rdrop_cli.core.executors.base import Ended, Job
from rdrop_cli.core.executors.messages import error_from_message, pass_on
from rdrop_cli.core.executors.worker_process import MORE_TRIES, WorkerProcess, environment
from rdrop_cli.errors import ProcessLost, StorageError, TrainingInterrupted, one_line

if TYPE_CHECKING:
    from rdrop_cli.core.training.observer import Observer

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
    saves = True

    def __init__(self, count: int) -> None:
        self.count = count
        self.threads = threads.chosen() or max(1, threads.cores() // count)
        self._free = list(range(count))
        self._workers: dict[Path, _Worker] = {}
        self._messages: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]] = queue.SimpleQueue()
        self._stopping = False

    def open(self) -> None:
        """Nothing is needed."""

    def slots(self) -> int:
        """The number of processes."""
        return self.count

    def submit(self, job: Job, observer: Observer) -> None:
        """Start a process for the job.

        Raises:
            StorageError: the system refuses to start one.
        """
        self._start(_Worker(job, observer, self._free.pop(0)))

    def poll(self) -> list[Ended]:
        """Wait for a moment, pass on progress, and return the jobs that have ended."""
        ended: list[Ended] = []
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
            for process in self._processes():
                process.stop()

    def close(self) -> None:
        """Kill the processes that are still running, and wait until they are gone, so that their locks are released."""
        for process in self._processes():
            process.kill()
        for process in self._processes():
            process.wait()
        self._workers.clear()

    def _processes(self) -> list[WorkerProcess]:
        return [worker.process for worker in self._workers.values() if worker.process is not None]

    def _start(self, worker: _Worker) -> None:
        self._workers[worker.job.folder] = worker
        try:
            worker.start(self._environment(worker), self._messages)
        except OSError as error:
            raise StorageError(f"{worker.job.name}: no process can be started ({one_line(error)})") from error

    def _take(self, worker: _Worker, message: dict[str, Any] | None) -> list[Ended]:
        """Handle a message, or the end of a process (None)."""
        if message is not None:
            if "tell" in message:
                pass_on(message, worker.observer)
            else:
                error = error_from_message(message) if "error" in message else None
                worker.ended = Ended(worker.job, error)
            return []
        assert worker.process is not None
        cause = worker.process.wait()
        ended = worker.ended
        if ended is None and self._stopping:
            ended = Ended(worker.job, TrainingInterrupted(f"{worker.job.name}: stopped"))
        elif ended is None and worker.repeated < MORE_TRIES:
            worker.repeated += 1
            times = f"repetition {worker.repeated} of at most {MORE_TRIES}"
            worker.observer.notice(f"Its process {cause}; the run continues in another from what was saved ({times})")
            self._start(worker)
            return []
        elif ended is None:
            ended = Ended(worker.job, ProcessLost(f"its process {cause}, {MORE_TRIES + 1} times"))
        self._free.append(worker.slot)
        del self._workers[worker.job.folder]
        return [ended]

    def _environment(self, worker: _Worker) -> dict[str, str]:
        gpus = _gpus()
        if len(gpus) < 2 or ":" in worker.job.config.train.device:  # cuda:1 is the user's own choice
            return environment(self.threads)
        return environment(self.threads, CUDA_VISIBLE_DEVICES=gpus[worker.slot % len(gpus)])


@dataclass
class _Worker:
    """A job and its process, which may have to be started again."""

    job: Job
    observer: Observer
    slot: int
    repeated: int = 0
    ended: Ended | None = None
    process: WorkerProcess | None = None

    def start(self, environment: dict[str, str], messages: queue.SimpleQueue[Any]) -> None:
        process = self.process = WorkerProcess(self.job, environment)

        def read() -> None:
            for message in process.messages():
                messages.put((self, message))
            messages.put((self, None))

        threading.Thread(target=read, daemon=True).start()


def _gpus() -> list[str]:
    """The CUDA devices that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return named[:count] if len(named) >= count else [str(index) for index in range(count)]
