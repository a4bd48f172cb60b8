"""Who is told of a comparison's progress, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rdrop_cli.core.comparison.grid import Cell, CellResult
from rdrop_cli.core.training.observer import Observer


class ComparisonObserver:
    """Is told of a comparison's progress; this one ignores it.

    Attributes:
        training: Is told of each training.
    """

    training = Observer()

    def plan(self, plan: ComparisonPlan, cells: Sequence[Cell]) -> None:
        """The cells are about to be trained, `plan.cells` of `cells`."""

    def began(self, cell: Cell) -> None:
        """A cell begins, or resumes."""

    def ended(self, result: CellResult, seconds_left: float) -> None:
        """A cell is done."""


@dataclass(frozen=True)
class ComparisonPlan:
    """What is left to do: the cells, the seconds each should take, and the disk that all need."""

    cells: list[Cell]
    seconds: list[float]
    disk: int
