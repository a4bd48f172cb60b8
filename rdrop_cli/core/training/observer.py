"""Who is told of a training's progress, and what is about to happen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class TrainingPlan:
    """What a training is about to do, for showing.

    Attributes:
        columns: Those that the data was read from.
        classes: Training examples of each class; of two the second is the positive one.
        data_notes: What was inferred of the data and left out of it, a sentence each.
    """

    run: Path
    model: str
    data: str
    device: str
    precision: str
    parameters: int
    examples: Mapping[str, int]
    epochs: int
    steps: int
    first_step: int
    batch_size: int
    micro_batch_size: int | str | None
    alpha: float
    ce_reduction: str
    label_smoothing: float
    metric: str
    columns: Mapping[str, str | None]
    classes: Mapping[str, int]
    data_notes: Sequence[str] = ()


class Observer:
    """Is told of a training's progress; this one ignores it. Used as a context manager around the training."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The training has ended, well or not."""

    def stage(self, name: str, done: int, total: int | None) -> None:
        """A stage other than training went on: `done` of `total` (None: not known)."""

    def plan(self, plan: TrainingPlan) -> None:
        """Training is about to begin."""

    def step(self, step: int) -> None:
        """An optimizer step has ended."""

    def log(self, row: Mapping[str, Any]) -> None:
        """A history row was added; evaluations have `validation_...` keys."""

    def micro_batch(self, size: int) -> None:
        """The device ran out of memory; from here on a forward pass has `size` examples."""

    def notice(self, message: str) -> None:
        """Something the user should know, in one sentence."""

    def stopping(self) -> None:
        """A signal asked to stop; the step in progress will be finished and saved. Called from a signal handler."""

    def evaluating(self, done: int) -> None:
        """Batches of the validation set done; 0 when it has ended."""
