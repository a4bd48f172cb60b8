"""A comparison's results as its documents tell them: what can be read, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.history import read_history
from rdrop_cli.errors import CheckpointError, RDropError

_NEEDED = {"arms", "baseline", "data", "differences", "metric", "seeds", "verdict"}


@dataclass(frozen=True)
class Results:
    """The results of a comparison with one budget.

    Attributes:
        file: The name of the document.
        content: As `core.comparison.results.document` makes it; of an earlier version with fewer keys.
        histories: The logs of the cells that can be read, by arm.
        fault: Why some cannot.
    """

    folder: Path
    file: str
    content: Mapping[str, Any]
    histories: Mapping[str, Sequence[Sequence[Mapping[str, float | None]]]] = field(default_factory=dict)
    fault: str | None = None

    @property
    def arms(self) -> list[str]:
        """The names of the arms; the first is the baseline."""
        return list(self.content["arms"])

    @property
    def cells(self) -> Sequence[Mapping[str, Any]]:
        """The runs; none where the document was kept without them."""
        cells: Sequence[Mapping[str, Any]] = self.content.get("cells", ())
        return cells

    @property
    def metrics(self) -> list[str]:
        """The metrics of which every arm has a summary, in their order."""
        first = next(iter(self.content["arms"].values()))
        return list(first["metrics"])

    def values(self, arm: str, metric: str) -> list[tuple[int, float]]:
        """A metric on test of each of an arm's cells: seed and value, where it is defined."""
        return [
            (cell["seed"], value)
            for cell in self.cells
            if cell["arm"] == arm and (value := _value(cell, metric)) is not None
        ]

    def differences(self, metric: str) -> list[Mapping[str, Any]]:
        """Each other arm's difference to the baseline."""
        return [gap for gap in self.content["differences"] if gap["metric"] == metric]


def open_results(folder: Path) -> list[Results]:
    """The results of a comparison, with each budget that it was made with.

    Raises:
        CheckpointError: there are none, or a document cannot be read.
    """
    results = []
    for file in layout.RESULTS:
        if not (folder / file).is_file():
            continue
        content = layout.read_json(folder / file)
        if not _is_whole(content):
            raise CheckpointError(f"{folder / file}: holds no results of a comparison", "Run rdrop compare again.")
        histories, fault = _histories(folder, content)
        results.append(Results(folder, file, content, histories, fault))
    if not results:
        raise CheckpointError(f"{folder}: no results of a comparison", "Resume it with the same rdrop compare command.")
    return results


def run_of(folder: Path, cell: Mapping[str, Any]) -> Path | None:
    """The folder of a cell's run; None where the results name none inside the comparison's."""
    path = Path(str(cell.get("run") or ".."))
    return None if path.is_absolute() or ".." in path.parts else folder / path


def _is_whole(content: Mapping[str, Any]) -> bool:
    try:
        return (
            content.keys() >= _NEEDED
            and bool(content["arms"])
            and all({"metrics", "settings"} <= arm.keys() for arm in content["arms"].values())
            and all({"arm", "seed", "metrics"} <= cell.keys() for cell in content.get("cells", ()))
            and all({"arm", "metric", "difference", "interval_seeds"} <= gap.keys() for gap in content["differences"])
            and "splits" in content["data"]
        )
    except (AttributeError, TypeError):
        return False


def _value(cell: Mapping[str, Any], metric: str) -> float | None:
    """Of the cell's own metrics, else of those after its temperature."""
    after = cell.get("calibrated") or {}
    for values in (cell["metrics"].get("test") or {}, after.get("test") or {}, after):
        value = values.get(metric) if isinstance(values, dict) else None
        if isinstance(value, float | int):
            return float(value)
    return None


def _histories(folder: Path, content: Mapping[str, Any]) -> tuple[dict[str, list[Any]], str | None]:
    histories: dict[str, list[Any]] = {}
    fault = None
    for cell in content.get("cells", ()):
        run = run_of(folder, cell)
        if run is None:
            continue
        try:
            histories.setdefault(cell["arm"], []).append(read_history(run))
        except RDropError as error:
            fault = fault or error.message
    return histories, fault
