"""The model card that is published: best/README.md with intervals, their limits, and how to use the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.metrics.bootstrap import weakness
from rdrop_cli.core.metrics.classification import TITLES
from rdrop_cli.core.metrics.example_intervals import metric_intervals
from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.core.progress import Progress, no_progress
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.finding import recorded_config
from rdrop_cli.core.runs.outputs import load_predictions
from rdrop_cli.core.runs.summary import read_metrics
from rdrop_cli.core.runs.threshold import KEY as THRESHOLD
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    from rdrop_cli.core.metrics.bootstrap import Interval
    from rdrop_cli.core.metrics.predictions import Predictions
    from rdrop_cli.core.publishing.local_paths import LocalPaths

_SHOWN = ("accuracy", "f1", "roc_auc", "nll", "brier", "ece")
"""The metrics with an interval, in the order of the table."""


def published_card(
    run: Path, repository: str, card: Mapping[str, Any], paths: LocalPaths, on_progress: Progress = no_progress
) -> str:
    """The model card of a run as its readers on a hub need it. The run's own card stays as it is.

    Args:
        repository: `owner/name`.
        card: The content of rdrop.json.

    Raises:
        CheckpointError: a record is damaged.
    """
    sections = [_own_text(run, repository, paths), _results(run, on_progress), _use(repository, card)]
    return "\n\n".join(sections) + "\n"


def _own_text(run: Path, repository: str, paths: LocalPaths) -> str:
    path = run / layout.BEST / layout.README
    try:
        return paths.hide(path.read_text(encoding="utf-8")).rstrip()
    except FileNotFoundError:  # its owner may have removed it
        return f"# {repository.partition('/')[2]}"
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: is not UTF-8 text", "Correct it, or remove it.") from error


def _results(run: Path, on_progress: Progress) -> str:
    """The results on test with their intervals, and what they do not say."""
    config, metrics = recorded_config(run), read_metrics(run)
    chosen = f"The best epoch was selected on validation, by {config.train.metric}"
    one_run = f"* This is one run, with seed {config.train.seed}; other seeds give other results"
    if "test" not in metrics:
        lines = [f"* {chosen}. There is no test split, so all results are optimistic", one_run]
        return "\n".join(["## How far to trust the results", "", *lines])
    lines = [f"* {chosen}; the test split was used once, at the end", one_run]
    if (run / layout.PREDICTIONS["test"]).is_file():
        predictions = load_predictions(run)
        return "\n".join(
            [
                "## Results on test",
                "",
                *_table(predictions, metrics["test"], on_progress),
                *_limits(predictions),
                *lines,
            ]
        )
    return "\n".join(["## Results on test", "", *lines])  # runs of earlier versions kept no predictions


def _table(predictions: Predictions, metrics: Mapping[str, Any], on_progress: Progress) -> list[str]:
    known = metric_intervals(predictions, on_progress=lambda done, total: on_progress("Resampling", done, total))
    rows = [
        f"| {TITLES[name]} | {number(metrics[name])} | {_bounds(known[name])} |"
        for name in _SHOWN
        if name in known and metrics.get(name) is not None
    ]
    return ["| metric | value | 95 % interval |", "| --- | ---: | ---: |", *rows, ""]


def _bounds(interval: Interval) -> str:
    low, high = number(interval.low), number(interval.high)
    return low if low == high == number(None) else f"{low} to {high}"


def _limits(predictions: Predictions) -> list[str]:
    lines = [
        f"* The intervals are a bootstrap over the {len(predictions.labels):,} test examples: how the results vary with"
        " the examples, not with the seed"
    ]
    if reason := weakness([predictions]):
        lines.append(f"* The intervals are too narrow: {reason}")
    return lines


def _use(repository: str, card: Mapping[str, Any]) -> str:
    """The commands and the code with which the model is used."""
    has_pairs = (card.get("columns") or {}).get("text_pair") is not None
    texts = "--input FILE" if has_pairs else '"some text"'
    lines = ["## Use", "", "```bash", f"rdrop predict --checkpoint {repository} {texts}"]
    lines += [f"rdrop evaluate {repository} DATA", "```"]
    if has_pairs:
        return "\n".join(lines)
    lines += ["", "```python", "from transformers import pipeline", ""]
    lines += [f'pipeline("text-classification", "{repository}")("some text")', "```"]
    if card.get(THRESHOLD) is not None:
        lines += ["", "`pipeline` gives the most probable class: it does not know the decision threshold."]
    return "\n".join(lines)
