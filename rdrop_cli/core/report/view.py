"""What the sections of a run's report are made from: the run and, perhaps, another one beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rdrop_cli.core.metrics.predictions import Predictions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rdrop_cli.core.metrics.bootstrap import Interval
    from rdrop_cli.core.report.run_documents import RunDocuments


@dataclass(frozen=True)
class Model:
    """A run's predictions on a split, in a picture.

    Attributes:
        name: Short, for a legend; empty where there is only one.
        raw: Without a temperature.
        best: After the temperature, where there is one.
        given: What the model of best/ gives: after the temperature that the run recorded, else without one.
    """

    name: str
    raw: Predictions
    best: Predictions
    given: Predictions
    is_calibrated: bool


@dataclass(frozen=True)
class RunView:
    """The run, and the one it is compared with.

    Attributes:
        intervals: Of the run's metrics on `split`, by metric.
    """

    run: RunDocuments
    other: RunDocuments | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """The split that the report is about."""
        return "test" if "test" in self.run.metrics else list(self.run.metrics)[-1]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.run.labels

    def models(self, split: str) -> list[Model]:
        """The runs that have predictions for a split, this one first; none if this one has none."""
        runs = [self.run] if self.other is None else [self.run, self.other]
        if split not in self.run.predictions:
            return []
        models: list[Model] = []
        for run, name in zip(runs, self.names, strict=True):
            if split not in run.predictions:
                continue
            raw, calibrated = run.predictions[split], run.calibrated(split)
            best = raw if calibrated is None else Predictions(raw.labels, calibrated)
            is_same = len(models) == 0 or np.array_equal(raw.labels, models[0].raw.labels)
            if is_same:
                is_given = run.calibration is not None and run.calibration.is_recorded
                models.append(Model(name, raw, best, best if is_given else raw, calibrated is not None))
        return models

    @property
    def names(self) -> list[str]:
        """Names of the runs in legends; an empty one where there is only one run."""
        return [""] if self.other is None else ["A", "B"]


def of(name: str, what: str) -> str:
    """A legend's text: what, and of which run where there are two."""
    return f"{name}: {what}" if name and what else name or what
