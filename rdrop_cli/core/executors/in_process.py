"""Train jobs one after the other, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdrop_cli.core.executors.base import Job, JobResult
from rdrop_cli.core.executors.training import train
from rdrop_cli.errors import RDropError

if TYPE_CHECKING:
    from rdrop_cli.core.training.observer import Observer


class InProcess:
    """The executor without `--on`."""

    in_process = True
    is_here = True
    saves = True

    def __init__(self) -> None:
        self._next: tuple[Job, Observer] | None = None

    def open(self) -> None:
        """Nothing is needed."""

    def slots(self) -> int:
        """One job at a time."""
        return 1

    def submit(self, job: Job, observer: Observer) -> None:
        """Train the job in the next `poll`."""
        self._next = job, observer

    def poll(self) -> list[JobResult]:
        """Train the job to its end."""
        if self._next is None:
            return []
        (job, observer), self._next = self._next, None
        try:
            train(job, observer)
        except RDropError as error:
            return [JobResult(job, error)]
        return [JobResult(job)]

    def cancel(self) -> None:
        """The training itself handles signals."""

    def close(self) -> None:
        """Nothing is left in training."""
