"""The report of a run, and of how it compares with another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rdrop_cli import __version__, wording
from rdrop_cli.core.metrics.bootstrap import resample, weakness
from rdrop_cli.core.metrics.example_intervals import metric_intervals
from rdrop_cli.core.metrics.head_to_head import head_to_head
from rdrop_cli.core.report.parts import Report, Section
from rdrop_cli.core.report.run_calibration import calibration
from rdrop_cli.core.report.run_classes import confusion
from rdrop_cli.core.report.run_curves import learning_curves
from rdrop_cli.core.report.run_data import data_card
from rdrop_cli.core.report.run_decisions import decisions
from rdrop_cli.core.report.run_examples import by_length, errors
from rdrop_cli.core.report.run_glance import against, at_a_glance
from rdrop_cli.core.report.run_ranking import ranking
from rdrop_cli.core.report.run_settings import settings
from rdrop_cli.core.report.view import RunView
from rdrop_cli.core.runs.method import describe_method
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    from rdrop_cli.core.progress import Progress
    from rdrop_cli.core.report.run_documents import RunDocuments

_SECTIONS: tuple[Callable[[RunView], Section], ...] = (
    learning_curves, confusion, ranking, calibration, decisions, by_length, errors, data_card, settings,
)  # fmt: skip


def report_run(run: RunDocuments, other: RunDocuments | None = None, *, on_progress: Progress) -> Report:
    """All sections of a run's report.

    Args:
        other: A run with the same test examples, to put beside it.

    Raises:
        CheckpointError: the two have other classes or other test examples, or one has no predictions.
    """
    if other is not None:
        _check_same_test(run, other)
    predictions = run.predictions.get("test") if "test" in run.metrics else None
    intervals = {}
    if predictions is not None:
        intervals = metric_intervals(
            predictions, on_progress=lambda done, total: on_progress("Resampling", done, total)
        )
    view = RunView(run, other, intervals=intervals)
    sections = [at_a_glance(view)]
    if other is not None:
        sections.append(_against(view))
    for index, make in enumerate(_SECTIONS):
        on_progress("Drawing", index, len(_SECTIONS))
        sections.append(make(view))
    on_progress("Drawing", len(_SECTIONS), len(_SECTIONS))
    return Report(
        _title(run),
        "Training run",
        _summary(view),
        sections,
        f"rdrop {__version__}, from the documents in {run.folder}",
    )


def _check_same_test(run: RunDocuments, other: RunDocuments) -> None:
    """Make sure that two runs were tested on the same examples.

    Raises:
        CheckpointError: they were not, or it cannot be seen.
    """
    for each in (run, other):
        if "test" not in each.predictions:
            raise CheckpointError(f"{each.folder}: {each.no('test-predictions.parquet')}", "Compare with another run.")
    both = f"{run.folder} and {other.folder}"
    if run.labels != other.labels:
        raise CheckpointError(f"{both}: have different classes", "Compare runs on the same data.")
    is_same = np.array_equal(run.predictions["test"].labels, other.predictions["test"].labels)
    if is_same and run.data is not None and other.data is not None and run.data.fingerprint != other.data.fingerprint:
        first, second = run.data.splits["test"], other.data.splits["test"]
        is_same = first.texts == second.texts and first.pairs == second.pairs
    if not is_same:
        raise CheckpointError(f"{both}: were tested on different examples", "Compare runs on the same data.")


def _against(view: RunView) -> Section:
    assert view.other is not None
    first, second = (each.predictions["test"] for each in (view.run, view.other))
    drawn = resample([first, second])
    weak = weakness([first, second])
    caution = f"The intervals are too narrow, and p-values are left out: {weak}." if weak else None
    return against(view, head_to_head(first, second, drawn), caution)


def _title(run: RunDocuments) -> str:
    return run.folder.name or run.name


def _summary(view: RunView) -> str:
    config = view.run.config
    if config is None:
        return f"{len(view.labels)} classes."
    method = describe_method(config)
    compared = f", beside {view.other.name}" if view.other else ""
    classes = wording.count(len(view.labels), "class", "classes")
    return f"{config.model.name} on {config.data.source}: {method}, {classes}, seed {config.train.seed}{compared}."
