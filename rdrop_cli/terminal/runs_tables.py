"""Tables of runs: all of them, one of them, what was verified."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from rdrop_cli.core.metrics.classification import HEADLINE, TITLES
from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.core.runs.threshold import Threshold
from rdrop_cli.terminal.class_tables import MANY_CLASSES
from rdrop_cli.terminal.console import add_row, safe, table
from rdrop_cli.wording import count, duration, listed, size

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from rdrop_cli.core.runs.summary import Summary
    from rdrop_cli.core.runs.verification import RunVerification

_STYLES = {"unfinished": "yellow", "not checked": "yellow", "in use": "cyan", "damaged": "red", "unreadable": "red"}
_OUTCOMES = ("intact", "not checked", "damaged", "unreadable", "in use")
_ANY = 10_000
"""Columns of a terminal on which everything fits."""
_GAPS = (2, 1)
"""Spaces between columns, the first that fits."""
_INDENT = "  "


class RunsTable:
    """One line a run where all columns fit; else the name and the data stand on a line above the numbers."""

    def __init__(self, runs: Sequence[Summary], now: float | None = None) -> None:
        self.runs = runs
        self.now = time.time() if now is None else now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        def fits(made: Table) -> bool:
            return Measurement.get(console, options.update(max_width=_ANY), made).maximum <= options.max_width - indent

        indent = 0
        one_line = next(filter(fits, (self._table(gap, with_names=True) for gap in _GAPS)), None)
        if one_line is not None:
            yield one_line
            return
        indent = len(_INDENT)
        numbers = [self._table(gap, with_names=False) for gap in _GAPS]
        lines = console.render_lines(next(filter(fits, numbers), numbers[-1]), options, pad=False)
        for name, line in zip_longest([Text("run, data", style="bold"), *map(_name_and_data, self.runs)], lines):
            yield name
            yield from [Segment(_INDENT), *line, Segment.line()]

    def _table(self, gap: int, *, with_names: bool) -> Table:
        made = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False)
        for title in ("run", "data") if with_names else ():
            made.add_column(title, no_wrap=True)
        for title in ("alpha", "seed"):
            made.add_column(title, justify="right", no_wrap=True)
        made.add_column("state (epochs)" if any(run.epoch is not None for run in self.runs) else "state", no_wrap=True)
        for title in (*(TITLES[name] for name in HEADLINE), "size", "age"):
            made.add_column(title, justify="right", no_wrap=True)
        for run in self.runs:
            names = (Text(safe(run.name), style="bold"), _data_of(run)) if with_names else ()
            add_row(made, *names, *_numbers(run, self.now))
        return made


def _name_and_data(run: Summary) -> Text:
    return Text.assemble((safe(run.name), "bold"), "  ", safe(_data_of(run)), overflow="fold")


def _data_of(run: Summary) -> str:
    return Path(run.config.data.source).name if run.config else "–"


def _numbers(run: Summary, now: float) -> Iterator[object]:
    yield f"{run.config.rdrop.alpha:g}" if run.config else "–"
    yield run.config.train.seed if run.config else "–"
    state = run.state if run.epoch is None else f"{run.state} {_progress(run.epoch, run.config)}"
    yield Text(state, style=_STYLES.get(run.state, ""))
    test = run.metrics.get("test", {})
    yield from (number(test.get(name)) for name in HEADLINE)
    yield size(run.size)
    yield age(now - run.written)


def _progress(epoch: float, config: Any) -> str:
    done = f"{epoch:.1f}".removesuffix(".0")
    return f"{done}/{config.train.epochs}" if config else done


def age(seconds: float) -> str:
    """`12 s`, `5 min`, `3 h`, `9 d`."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def details_table(run: Mapping[str, Any]) -> Table:
    """What `describe_run` found, a line for each subject; what is not recorded is left out."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for title, value in _subjects(run):
        if value:
            add_row(made, title, value)
    return made


def _subjects(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from rdrop_cli.core.data.columns import in_words

    epochs = run["epochs"]
    at = f", epoch {run['epoch']:g} of {epochs}, step {run['step']:,}" if run["epoch"] is not None else ""
    yield "State", f"{run['state']}{at}"
    yield "Data", run["data"] or ""
    yield "Splits", ", ".join(f"{name} {examples:,}" for name, examples in (run["splits"] or {}).items())
    yield "Columns", in_words(run["columns"]) if run["columns"] else ""
    yield "Labels", listed(run["labels"] or [], MANY_CLASSES)
    yield "Model", f"{run['model']}, at most {run['max_length']} tokens" if run["model"] else ""
    if run["method"]:
        yield "Method", run["method"]
        yield "Smoothing", f"{run['label_smoothing']:g}"
        yield (
            "Training",
            f"{count(epochs, 'epoch')}, batch size {run['batch_size']}, lr {run['lr']:g}, seed {run['seed']}",
        )
    best = f"{run['best_epoch']:g}, chosen by validation {run['metric']}" if run["best_epoch"] is not None else ""
    yield "Best epoch", best
    yield "Threshold", str(Threshold(**run["threshold"])).removeprefix("Threshold ") if run["threshold"] else ""
    yield "Time", _time(run)
    yield "Device", ", ".join(str(run[key]) for key in ("device", "precision") if run[key])
    yield "Versions", ", ".join(f"{name} {version}" for name, version in (run["versions"] or {}).items())
    yield "Disk", ", ".join(f"{part} {size(held)}" for part, held in run["disk"].items() if held)


def _time(run: Mapping[str, Any]) -> str:
    if not isinstance(run["seconds"], float | int):
        return ""
    resumed = f", resumed from step {run['resumed_from_step']:,}" if run["resumed_from_step"] else ""
    whole = f"; {duration(run['wall_seconds'])} with loading and evaluation" if run["wall_seconds"] else ""
    return f"{duration(run['seconds'])} of training{resumed}{whole}"


def verified_table(verifications: Sequence[RunVerification]) -> Table:
    """One row a run: how much was checked, and the result."""
    made = table("run", "checked", "result")
    for run in verifications:
        checked = count(len(run.checked), "folder") if run.outcome in ("intact", "not checked", "damaged") else "–"
        more = f", {len(run.unsealed)} without manifest" if run.unsealed else ""
        add_row(made, run.name, checked + more, Text(run.outcome, style=_STYLES.get(run.outcome, "")))
    return made


def verified_in_all(verifications: Sequence[RunVerification]) -> str:
    """The last line of a verification."""
    outcomes: Counter[str] = Counter(run.outcome for run in verifications)
    parts = [f"{outcomes[outcome]:,} {outcome}" for outcome in _OUTCOMES if outcomes[outcome]]
    return f"{count(len(verifications), 'run')}: {', '.join(parts)}"


def in_all(runs: Sequence[Summary]) -> str:
    """The last line of a list."""
    return f"{count(len(runs), 'run')}, {size(sum(run.size for run in runs))}"
