"""A finished run as its documents tell it: what can be read, and why the rest cannot. No model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rdrop_cli.core.data.dataset import load_recorded_data
from rdrop_cli.core.metrics.calibration import at_temperature, fit_temperature
from rdrop_cli.core.report.lengths import token_lengths
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.finding import recorded_config
from rdrop_cli.core.runs.history import read_history
from rdrop_cli.core.runs.outputs import load_cost, load_predictions
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.runs.summary import is_there, read_metrics
from rdrop_cli.errors import CheckpointError, RDropError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.core.metrics.predictions import Predictions
    from rdrop_cli.schema import Config

Read = TypeVar("Read")
CARD = f"{layout.BEST}/{layout.CARD}"
SPLITS = ("train", "validation", "test")
POSITIVE = 1
"""The id of the class that F1 is about, where there are two."""


@dataclass(frozen=True)
class ReportTemperature:
    """A run's temperature.

    Attributes:
        temperature: 1 if none could be fitted.
        origin: Where it comes from, in words.
        reason: Why none could be fitted; None: it was.
        is_recorded: The run recorded it, so its model applies it.
    """

    temperature: float
    origin: str
    reason: str | None = None
    is_recorded: bool = False


@dataclass(frozen=True)
class RunDocuments:
    """What a finished run's folder holds.

    Attributes:
        name: The run, for display.
        metrics: By split.
        config, record, cost, card: None or empty where they cannot be read.
        faults: Why, by file.
    """

    folder: Path
    name: str
    metrics: Mapping[str, Mapping[str, Any]]
    config: Config | None
    record: Mapping[str, Any]
    cost: Mapping[str, Any]
    card: Mapping[str, Any]
    history: Sequence[Mapping[str, float | None]]
    predictions: Mapping[str, Predictions]
    faults: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes; their numbers, where nothing tells the names."""
        for document in (self.record, self.card):
            names = document.get("labels")
            if isinstance(names, list) and names:
                return tuple(map(str, names))
        classes = max((len(split.get("per_class") or ()) for split in self.metrics.values()), default=0)
        return tuple(f"class {index}" for index in range(classes))

    @cached_property
    def data(self) -> Prepared | None:
        """The prepared data; None where it is no longer there, or has changed."""
        return load_recorded_data(self.record) if self.record.get("prepared") else None

    @cached_property
    def calibration(self) -> ReportTemperature | None:
        """The temperature that the run recorded, else one fitted on validation; None: there is nothing to fit it on."""
        recorded = next((split["temperature"] for split in self.metrics.values() if split.get("temperature")), None)
        noted = self.card.get("calibration")
        reason = noted.get("reason") if isinstance(noted, dict) else None
        if isinstance(recorded, float | int) and recorded > 0:
            return ReportTemperature(float(recorded), "recorded by the training", str(reason) if reason else None, True)
        if "validation" not in self.predictions:
            return None
        validation = self.predictions["validation"]
        fitted = fit_temperature(validation.labels, validation.probabilities)
        return ReportTemperature(fitted.value, "fitted for this report", fitted.reason)

    def calibrated(self, split: str) -> NDArray[np.float64] | None:
        """A split's probabilities after the temperature; None without predictions or temperature."""
        if self.calibration is None or split not in self.predictions:
            return None
        return at_temperature(self.predictions[split].probabilities, self.calibration.temperature)

    def lengths(self, split: str) -> NDArray[np.int64] | None:
        """Tokens of a split's examples before truncation; None without data or tokenizer."""
        if self.data is None or split not in self.data.splits or self.max_length is None:
            return None
        return token_lengths(self.data, split, self.folder / layout.BEST, self.record, self.max_length)

    @property
    def max_length(self) -> int | None:
        """The longest input of the model, in tokens."""
        length = self.config.model.max_length if self.config else self.card.get("max_length")
        return length if isinstance(length, int) else None

    def no(self, *files: str) -> str:
        """Why a section without these files is left out."""
        known = [self.faults[name] for name in files if name in self.faults]
        return known[0] if known else f"{files[0]} is not in the run's folder"


def open_run(run: Path, name: str | None = None) -> RunDocuments:
    """Read a finished run.

    Raises:
        CheckpointError: the run has not finished, or its metrics cannot be read.
    """
    if not is_there(run / layout.METRICS):
        raise CheckpointError(
            f"{run}: has not finished, so there is nothing to report", f"Resume with: {layout.resume_command(run)}"
        )
    metrics = read_metrics(run)
    if not metrics:
        raise CheckpointError(f"{run / layout.METRICS}: holds no metrics", "Train the run again.")
    reading = _Reading()
    record = reading(layout.DATA, lambda: read_record(run)) or {}
    classes = len(record["labels"]) if isinstance(record.get("labels"), list) else None
    predictions = {
        split: reading(file, partial(_predictions, run, split, classes)) for split, file in layout.PREDICTIONS.items()
    }
    cost = reading(layout.COST, lambda: load_cost(run)) or {}
    return RunDocuments(
        folder=run,
        name=name or str(run),
        metrics=metrics,
        config=reading(layout.CONFIG, lambda: recorded_config(run)),
        record=record,
        cost={key: value for key, value in cost.items() if value is not None},
        card=reading(CARD, lambda: layout.read_json(run / CARD)) or {},
        history=reading(layout.HISTORY, lambda: read_history(run)) or [],
        predictions={
            split: split_predictions
            for split, split_predictions in predictions.items()
            if split_predictions is not None
        },
        faults=reading.faults,
    )


def _predictions(run: Path, split: str, classes: int | None) -> Predictions:
    """A split's predictions, where they are ones.

    Raises:
        CheckpointError: they are missing or damaged, or not of the classes that the run has.
    """
    predictions = load_predictions(run, split)
    if classes not in (None, predictions.probabilities.shape[1]):
        raise CheckpointError(f"{run / layout.PREDICTIONS[split]}: damaged")
    return predictions


class _Reading:
    """Reads what can be read, and keeps the reasons why the rest cannot, by file."""

    def __init__(self) -> None:
        self.faults: dict[str, str] = {}

    def __call__(self, file: str, read: Callable[[], Read]) -> Read | None:
        try:
            return read()
        except RDropError as error:
            self.faults[file] = error.message
        except OSError as error:
            self.faults[file] = f"{error.filename or file}: cannot be read ({error.strerror})"
        return None
