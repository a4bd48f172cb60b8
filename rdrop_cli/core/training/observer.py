"""The interface for watching a training, and the plan that it announces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class TrainingPlan:
    """What a training is about to do, for display.

    Attributes:
        method: In words, as `describe_method` gives it.
        columns: The columns that the data was read from.
        classes: Training examples of each class; if there are two, the second is the positive one.
        class_weights: The weight of each class in the cross-entropy; None: the same for all.
        balanced: They were chosen by the number of examples, not given one by one.
        data_notes: One sentence for everything that was inferred about the data or left out of it.
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
    method: str
    label_smoothing: float
    metric: str
    columns: Mapping[str, str | None]
    classes: Mapping[str, int]
    class_weights: Mapping[str, float] | None = None
    balanced: bool = False
    data_notes: Sequence[str] = ()


class Observer:
    """Receives a training's progress; this base class ignores it. Use it as a context manager around the training."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The training has ended, successfully or not."""

    def place(self, machine: str) -> None:
        """The training takes place on another machine, of this name."""

    def stage(self, name: str, done: int, total: int | None) -> None:
        """A stage other than training has made progress: `done` of `total` (None: unknown)."""

    def plan(self, plan: TrainingPlan) -> None:
        """Training is about to begin."""

    def step(self, step: int) -> None:
        """The optimizer step with this number, counted from 1, has ended."""

    def log(self, row: Mapping[str, Any]) -> None:
        """A row was added to the history; rows of evaluations have `validation_...` keys."""

    def micro_batch(self, size: int) -> None:
        """The device ran out of memory; from now on a forward pass has at most `size` examples."""

    def notice(self, message: str) -> None:
        """Something the user should know, in one sentence."""

    def stopping(self) -> None:
        """A signal asked to stop; training will finish the current step and save. Called from a signal handler."""

    def evaluating(self, done: int) -> None:
        """The number of validation batches done; 0 when the evaluation has ended."""
