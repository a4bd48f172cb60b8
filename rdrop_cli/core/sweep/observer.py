"""The interface for watching a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdrop_cli.core.training.observer import Observer

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.core.sweep.trials import Trial


class SweepObserver:
    """Receives a sweep's progress; this base class ignores it.

    Attributes:
        training: Receives what belongs to no run; by default also the progress of each training.
    """

    training = Observer()

    def data(self, data: Prepared) -> None:
        """The data that all trials share has been read."""

    def search(self, name: str, trials: int | None, done: int) -> None:
        """A search begins or resumes: of `trials` (None: as many as the time allows) `done` have ended."""

    def began(self, trial: Trial, seed: int, position: int, seeds: int) -> Observer:
        """A run of a trial begins or resumes: number `position` of `seeds`, counted from 1.

        Returns:
            The observer of its training.
        """
        return self.training

    def failed(self, trial: Trial, seed: int, why: str) -> None:
        """A run has failed where others of its trial continue."""

    def ended(self, trial: Trial, scores: Sequence[float], is_best: bool, seconds_left: float | None) -> None:
        """A trial has ended; the remaining ones should take `seconds_left` (None: unknown)."""
