"""What a comparison and the place where its runs are trained tell each other. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rdrop_cli.core.training.observer import Observer
    from rdrop_cli.errors import RDropError
    from rdrop_cli.schema import Config


@dataclass(frozen=True)
class Job:
    """A run to be trained, or resumed if its folder already contains it.

    Attributes:
        name: For display.
        folder: The run folder.
        fingerprint: That of the data, which must not have changed since the comparison began.
        first: Another run that began with the same model; None: there is none yet.
        weights: The fingerprint of the weights that it began with.
        model: Where the base model is on the machine of the training; None: as configured.
        prepared: Where the prepared data is; None: as configured.
    """

    name: str
    folder: Path
    config: Config
    fingerprint: str
    first: str | None = None
    weights: str | None = None
    model: Path | None = None
    prepared: Path | None = None


@dataclass(frozen=True)
class JobResult:
    """A job that has ended: its folder contains the finished run, or `error` says why not."""

    job: Job
    error: RDropError | None = None


class Executor(Protocol):
    """Trains jobs, one or several at a time.

    Attributes:
        in_process: Jobs are trained in this process, in `poll`, which handles signals as a training does. A failure
            then ends the comparison; elsewhere the other jobs continue.
        is_here: Jobs are trained on this machine.
        saves: A job that is cancelled can be resumed from where it stood.
    """

    in_process: bool
    is_here: bool
    saves: bool

    def open(self) -> None:
        """Begin, before the first job and before data is loaded.

        Raises:
            ConfigError: what is needed is missing.
        """

    def slots(self) -> int:
        """How many jobs can be trained at the moment, including those in training."""

    def submit(self, job: Job, observer: Observer) -> None:
        """Accept a job. Call it only while a slot is free.

        Args:
            observer: Receives the progress of its training, from `poll`.
        """

    def poll(self) -> list[JobResult]:
        """Wait for a moment, pass on progress, and return the jobs that have ended since the last call."""

    def cancel(self) -> None:
        """Ask the jobs in training to stop, after saving if they can; they end with TrainingInterrupted."""

    def close(self) -> None:
        """End what is still in training at once, and release everything."""
