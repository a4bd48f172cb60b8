"""A sweep as it goes: a bar for the run in progress and a line for each trial; and the table of its trials.

They show validation only. Test is not looked at before the winners are confirmed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.metrics.classification import TITLES
from rdrop_cli.core.metrics.formatting import number
from rdrop_cli.core.sweep.observer import SweepObserver
from rdrop_cli.core.sweep.results import mean, ranked, short_name, spread
from rdrop_cli.core.training.observer import Observer, TrainingPlan
from rdrop_cli.terminal.comparison_plan import named
from rdrop_cli.terminal.console import Screen, add_row, count, duration, table
from rdrop_cli.terminal.descriptions import describe_micro_batch, describe_stopping, say_data

if TYPE_CHECKING:
    from rich.table import Table

    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.core.sweep.runner import Found
    from rdrop_cli.core.sweep.trials import Trial
    from rdrop_cli.terminal.stages import Stages

_NUMBER = re.compile(r"[\d.,]+")
_SHOWN = 10
"""Rows of the table of trials."""
_STATES = {"complete": "", "pruned": "given up", "failed": "failed", "running": "unfinished"}


class SweepView(SweepObserver):
    """Lines for trials, which a log file keeps too; a bar for the run in progress."""

    training: _Training

    def __init__(self, screen: Screen, stages: Stages, metric: str) -> None:
        self.screen, self.metric = screen, TITLES.get(metric, metric)
        self.training = _Training(screen, stages)
        self._trials: int | None = None
        self._search = ""

    def data(self, data: Prepared) -> None:
        say_data(self.screen, data)

    def search(self, name: str, trials: int | None, done: int) -> None:
        self._search, self._trials = name, trials
        so_far = f", {done} of them done" if done else ""
        self.screen.say(
            f"Search {name}: {count(trials, 'trial') if trials else 'trials until the time is over'}{so_far}"
        )

    def began(self, trial: Trial, seed: int, position: int, seeds: int) -> None:
        of = f" of {self._trials}" if self._trials else ""
        self.training.cell = f"{self._search} trial {trial.number + 1}{of}, run {position} of {seeds}"

    def ended(self, trial: Trial, scores: Sequence[float], is_best: bool, seconds_left: float | None) -> None:
        of = f"/{self._trials}" if self._trials else ""
        left = f"  (about {duration(seconds_left)} left)" if seconds_left else ""
        self.screen.say(
            f"[{trial.number + 1}{of}] {described(trial.values)}  validation {self.metric} {_score(scores)}"
            f"{_outcome(trial, len(scores), is_best)}{left}",
            style="bold" if is_best else None,
        )


class _Training(Observer):
    """Of a run's training shows how far it is, and what must be known."""

    def __init__(self, screen: Screen, stages: Stages) -> None:
        self.screen, self.stages = screen, stages
        self.cell = ""
        self._steps: int | None = None
        self._noticed: set[str] = set()

    def stage(self, name: str, done: int, total: int | None) -> None:
        if not self.cell:
            self.stages.update(name, done, total)

    def plan(self, plan: TrainingPlan) -> None:
        self._steps = plan.steps
        if plan.first_step:
            self.screen.say(f"{self.cell} resumes at step {plan.first_step:,} of {plan.steps:,}")

    def step(self, step: int) -> None:
        if self.screen.is_live:
            self.stages.update(self.cell, step, self._steps)

    def micro_batch(self, size: int) -> None:
        self.screen.say(describe_micro_batch(size))

    def notice(self, message: str) -> None:
        kind = _NUMBER.sub("", message)
        if kind not in self._noticed:  # many runs have the same to say
            self._noticed.add(kind)
            self.screen.say(f"{named(self.cell, message)} (later runs: not repeated)", style="yellow")

    def stopping(self) -> None:
        self.screen.say(describe_stopping())


def described(values: Mapping[str, Any]) -> str:
    """The values of a trial in one line."""
    return ", ".join(f"{short_name(key)} {_value(value)}" for key, value in values.items())


def trial_table(found: Found, metric: str, *, maximizes: bool) -> Table:
    """The best trials of a search, a row each."""
    keys = list(found.search.space)
    title = TITLES.get(metric, metric)
    shown = table("trial", *map(short_name, keys), title, "± sd", "runs", "", names=(len(keys) + 4,))
    for trial, scores in ranked(found, maximizes=maximizes)[:_SHOWN]:
        is_best = trial is found.best
        cells = [str(trial.number + 1), *(_value(trial.values.get(key)) for key in keys)]
        deviation = spread(scores)
        cells += [number(mean(scores)) if scores else "–", number(deviation) if deviation is not None else "–"]
        add_row(
            shown,
            *cells,
            str(len(scores)),
            "best" if is_best else _STATES[trial.state],
            style="bold" if is_best else None,
        )
    return shown


def _outcome(trial: Trial, runs: int, is_best: bool) -> str:
    if trial.state == "pruned":
        return f", given up after {count(runs, 'run')}"
    if trial.state == "failed":
        return f", failed: {trial.reason}"
    return ", the best so far" if is_best else ""


def _score(scores: Sequence[float]) -> str:
    deviation = spread(scores)
    return f"{number(mean(scores))}{f' ± {number(deviation)}' if deviation is not None else ''}" if scores else "–"


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "–" if value is None else str(value)
