"""Who is told of a comparison's progress, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.training.observer import Observer

if TYPE_CHECKING:
    from rdrop_cli.core.comparison.grid import Cell, CellResult
    from rdrop_cli.core.data.dataset import Prepared


class ComparisonObserver:
    """Is told of a comparison's progress; this one ignores it.

    Attributes:
        training: Is told of each training.
    """

    training = Observer()

    def data(self, data: Prepared) -> None:
        """The data that all cells share is read."""

    def stage(self, name: str, done: int, total: int | None) -> None:
        """What follows the last cell has `done` of `total`."""

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

    def as_dict(self, runs: int) -> dict[str, Any]:
        """What `rdrop compare --dry-run --json` prints.

        Args:
            runs: How many cells there are, those that are done included.
        """
        return {
            "dry_run": True,
            "runs": runs,
            "runs_left": len(self.cells),
            "seconds": sum(self.seconds),
            "disk_bytes": self.disk,
        }
