"""The interface for watching a comparison, and the plan of its remaining work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.training.observer import Observer

if TYPE_CHECKING:
    from rdrop_cli.core.comparison.grid import Cell, CellOutcome
    from rdrop_cli.core.data.dataset import Prepared


class ComparisonObserver:
    """Receives a comparison's progress; this base class ignores it.

    Attributes:
        training: Receives what belongs to no cell; by default also the progress of each cell's training.
    """

    training = Observer()

    def data(self, data: Prepared) -> None:
        """The data that all cells share has been read."""

    def stage(self, name: str, done: int, total: int | None) -> None:
        """A stage after the last cell has made progress: `done` of `total`."""

    def plan(self, plan: ComparisonPlan, cells: Sequence[Cell]) -> None:
        """Training is about to begin, of the `plan.cells` among all `cells`."""

    def began(self, cell: Cell) -> None:
        """A cell begins or resumes; others may be in training."""

    def training_of(self, cell: Cell) -> Observer:
        """The observer of the training of a cell that has just begun."""
        return self.training

    def failed(self, cell: Cell, why: str) -> None:
        """A cell's training has failed, and the others continue."""

    def ended(self, result: CellOutcome, seconds_left: float) -> None:
        """A cell has finished; the remaining ones should take `seconds_left`."""


@dataclass(frozen=True)
class ComparisonPlan:
    """The remaining cells, the estimated seconds for each, and the bytes of disk space for all.

    Attributes:
        at_once: How many are trained at the same time.
        is_timed: False: `seconds` are in an unknown unit, since nothing was timed on the machines that train the cells.
    """

    cells: list[Cell]
    seconds: list[float]
    disk: int
    at_once: int = 1
    is_timed: bool = True

    @property
    def total(self) -> float | None:
        """The estimated seconds for all; None: unknown."""
        if not self.is_timed:
            return None
        return sum(self.seconds) / max(1, min(self.at_once, len(self.cells)))

    def as_dict(self, runs: int) -> dict[str, Any]:
        """The document that `rdrop compare --dry-run --json` prints.

        Args:
            runs: The number of all cells, including the finished ones.
        """
        return {
            "dry_run": True,
            "runs": runs,
            "runs_left": len(self.cells),
            "seconds": self.total,
            "disk_bytes": self.disk,
        }
