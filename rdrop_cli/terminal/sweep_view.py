"""A sweep as it goes: a bar for the trial in progress and a line for each that has ended; and the table of its trials.

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
from rdrop_cli.terminal.console import Screen, add_row, table
from rdrop_cli.terminal.descriptions import describe_micro_batch, describe_stopping, say_data
from rdrop_cli.wording import count, duration

if TYPE_CHECKING:
    from rich.table import Table

    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.core.sweep.runner import SearchResult
    from rdrop_cli.core.sweep.trials import Trial
    from rdrop_cli.terminal.stages import Stages

_NUMBER = re.compile(r"[\d.,]+")
_SHOWN = 10
"""Rows of the table of trials."""
_STATES = {"complete": "", "pruned": "given up", "failed": "failed", "running": "unfinished"}


class SweepView(SweepObserver):
    """Lines for trials, which a log file keeps too; a bar for the runs of the trial in progress."""

    training: _Training

    def __init__(self, screen: Screen, stages: Stages, metric: str) -> None:
        self.screen, self.metric = screen, TITLES.get(metric, metric)
        self.stages = stages
        self.training = _Training(self)
        self._trials: int | None = None
        self._search = ""
        self._noticed: set[str] = set()
        self._trial = ""
        self._runs: dict[int, _Training] = {}
        self._seeds = 0

    def data(self, data: Prepared) -> None:
        say_data(self.screen, data)

    def search(self, name: str, trials: int | None, done: int) -> None:
        self._search, self._trials = name, trials
        so_far = f", {done} of them done" if done else ""
        self.screen.say(
            f"Search {name}: {count(trials, 'trial') if trials else 'trials until the time is over'}{so_far}"
        )

    def began(self, trial: Trial, seed: int, position: int, seeds: int) -> Observer:
        of = f" of {self._trials}" if self._trials else ""
        name = f"{self._search} {trial.name}{of}"
        if name != self._trial:
            self._trial, self._runs, self._seeds = name, {}, seeds
        self._runs[position] = _Training(self, f"{name}, run {position} of {seeds}")
        return self._runs[position]

    def failed(self, trial: Trial, seed: int, why: str) -> None:
        self.screen.say(named(f"{self._search} {trial.name} seed {seed}", why), style="red")

    def advanced(self, steps: int) -> None:
        """Some of the trial's steps are done, of which each run has `steps`."""
        if self.screen.is_live:
            earlier = max(self._runs) - len(self._runs)  # runs that had finished before this sweep was resumed
            done = earlier * steps + sum(run.done for run in self._runs.values())
            self.stages.update(self._trial, done, self._seeds * steps)

    def notice(self, cell: str, message: str) -> None:
        """Say once what many runs have to say."""
        kind = _NUMBER.sub("", message)
        if kind not in self._noticed:
            self._noticed.add(kind)
            later = " (later runs: not repeated)" if cell else ""
            self.screen.say(f"{named(cell, message)}{later}", style="yellow")

    def ended(self, trial: Trial, scores: Sequence[float], is_best: bool, seconds_left: float | None) -> None:
        of = f"/{self._trials}" if self._trials else ""
        left = f"  (about {duration(seconds_left)} left)" if seconds_left else ""
        self.screen.say(
            f"[{trial.number + 1}{of}] {described(trial.values)}  validation {self.metric} {_score(scores)}"
            f"{_outcome(trial, len(scores), is_best)}{left}",
            style="bold" if is_best else None,
        )


class _Training(Observer):
    """Of a run's training shows how far it is, and what must be known; without a run, what comes before the first."""

    def __init__(self, view: SweepView, cell: str = "") -> None:
        self.view, self.cell = view, cell
        self.done = 0
        self._steps = 0

    def stage(self, name: str, done: int, total: int | None) -> None:
        if not self.cell:
            self.view.stages.update(name, done, total)

    def plan(self, plan: TrainingPlan) -> None:
        self._steps, self.done = plan.steps, plan.first_step
        if plan.first_step:
            self.view.screen.say(f"{self.cell} resumes at step {plan.first_step:,} of {plan.steps:,}")

    def step(self, step: int) -> None:
        self.done = step
        self.view.advanced(self._steps)

    def micro_batch(self, size: int) -> None:
        self.view.screen.say(named(self.cell, describe_micro_batch(size)))

    def notice(self, message: str) -> None:
        self.view.notice(self.cell, message)

    def stopping(self) -> None:
        self.view.screen.say(describe_stopping())


def described(values: Mapping[str, Any]) -> str:
    """The values of a trial in one line."""
    return ", ".join(f"{short_name(key)} {_value(value)}" for key, value in values.items())


def trial_table(result: SearchResult, metric: str, *, maximizes: bool) -> Table:
    """The best trials of a search, a row each."""
    keys = list(result.search.space)
    title = TITLES.get(metric, metric)
    shown = table("trial", *map(short_name, keys), title, "± sd", "runs", "", names=(len(keys) + 4,))
    for trial, scores in ranked(result, maximizes=maximizes)[:_SHOWN]:
        is_best = trial is result.best
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
