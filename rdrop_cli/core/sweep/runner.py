"""Run a sweep: trial after trial, each with several seeds, judged on validation; then confirm the winners on test.

What a trial tries depends on the trials before it, so trials follow one another wherever they are trained, and a sweep
finds the same everywhere. The runs of a trial are independent, so an executor may train several of them at a time.

A sweep can be stopped at any point and resumed: its runs and trial.json files show what is done.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdrop_cli.config import flatten, override
from rdrop_cli.core.comparison.arms import Arm
from rdrop_cli.core.comparison.grid import Grid, check_cells, make_cells
from rdrop_cli.core.comparison.runner import ComparisonResult, compare
from rdrop_cli.core.executors.in_process import InProcess
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.outputs import load_cost, seconds_of
from rdrop_cli.core.storage.files import make_folder
from rdrop_cli.core.storage.lock import only_writer
from rdrop_cli.core.sweep.observer import SweepObserver
from rdrop_cli.core.sweep.plan import CONFIRM, PLAIN, Search, SweepPlan, save_record
from rdrop_cli.core.sweep.space import DROPOUT, as_settings
from rdrop_cli.core.sweep.study import SEEDS_BEFORE_PRUNING, Study
from rdrop_cli.core.sweep.trial_trainer import TrialTrainer
from rdrop_cli.core.sweep.trials import Trial, load_trials, save_trial, trial_folder
from rdrop_cli.errors import ModelError, one_line

if TYPE_CHECKING:
    from rdrop_cli.core.comparison.observer import ComparisonObserver
    from rdrop_cli.core.executors.base import Executor
    from rdrop_cli.core.sweep.trials import State
    from rdrop_cli.schema import Config

_FAILURES, _IN_A_ROW = 3, 10
"""So many failed trials end a sweep: at its beginning, and in a row later."""


@dataclass(frozen=True)
class SearchResult:
    """What a search has found.

    Attributes:
        trials: All of them, with the validation scores of their runs.
        best: The trial with the best mean score; None: none was completed.
        config: The configuration of the best trial, with the first seed.
        seconds: Training time of all runs.
    """

    search: Search
    trials: Sequence[tuple[Trial, list[float]]]
    best: Trial | None
    config: Config | None
    seconds: float


@dataclass(frozen=True)
class SweepResult:
    """The results of a sweep.

    Attributes:
        searches: The result of each search.
        comparison: Of the winners with fresh seeds; None: none was asked for.
    """

    plan: SweepPlan
    searches: Sequence[SearchResult]
    comparison: ComparisonResult | None


def sweep(
    plan: SweepPlan,
    observer: SweepObserver | None = None,
    comparison_observer: ComparisonObserver | None = None,
    executor: Executor | None = None,
) -> SweepResult:
    """Search, and compare the winners if asked to.

    Args:
        plan: As `plan_sweep` makes it.
        observer: Receives progress of the searches.
        comparison_observer: Receives progress of the final comparison.
        executor: Where runs are trained, as `make_executor` gives it; None: in this process.

    Raises:
        TrainingInterrupted: a signal stopped the sweep; the same call resumes it.
        ModelError: the first trials all failed, or ten in a row later.
        RDropError: data, model or folder are not as they should be.
    """
    observer = observer or SweepObserver()
    executor = executor or InProcess()
    make_folder(plan.folder)
    with only_writer(plan.folder), contextlib.closing(executor):
        executor.open()
        save_record(plan)
        trainer = TrialTrainer(plan, observer, executor)
        results = [_SearchRunner(plan, search, trainer, observer).run() for search in plan.searches]
    compared = _confirm(plan, results, comparison_observer, executor) if plan.confirm else None
    return SweepResult(plan, results, compared)


class _SearchRunner:
    """One search, from where it stands to its end."""

    def __init__(self, plan: SweepPlan, search: Search, trainer: TrialTrainer, observer: SweepObserver) -> None:
        self.plan, self.search, self.trainer, self.observer = plan, search, trainer, observer
        self.seeds = plan.seeds
        make_folder(search.folder)
        self.trials = [(trial, self._scores(trial)) for trial in load_trials(search.folder)]
        self.study = Study(
            search.folder,
            search.space,
            seed=self.seeds[0],
            maximize=plan.maximizes,
            trials=self.trials,
            first=self._own_values(),
        )

    def run(self) -> SearchResult:
        ended = [trial for trial, _ in self.trials if trial.state != "running"]
        self.observer.search(self.search.name, self.plan.trials, len(ended))
        if len(ended) < len(self.trials):
            self._finish(self.trials.pop()[0])
        while not self._is_over():
            number = len(self.trials)
            folder = trial_folder(self.search.folder, number)
            trial = Trial(number, folder, self.study.propose(number))
            save_trial(trial)
            self._finish(trial)
        best = self.best()
        return SearchResult(
            self.search, self.trials, best, None if best is None else self._config(best), sum(self._costs().values())
        )

    def _scores(self, trial: Trial) -> list[float]:
        """The scores of a trial; runs of a complete one that were removed since are trained again."""
        scores = trial.scores(self.seeds, self.plan.metric)
        if trial.state == "complete" and len(scores) < len(self.seeds):
            self.trainer.train(trial, self._config(trial), self.seeds)
            scores = trial.scores(self.seeds, self.plan.metric)
        return scores

    def best(self) -> Trial | None:
        """The complete trial with the best mean score; of several the first."""
        sign = 1 if self.plan.maximizes else -1
        complete = [
            (sign * sum(scores) / len(scores), trial) for trial, scores in self.trials if trial.state == "complete"
        ]
        return max(complete, key=lambda each: each[0])[1] if complete else None

    def _finish(self, trial: Trial) -> None:
        """Train the runs of a trial that are missing, until it is complete, given up or has failed."""
        began = time.monotonic()
        scores = trial.scores(self.seeds, self.plan.metric)
        config = self._config(trial)
        state: State = "complete"
        reason = None
        for end in _judgements(len(self.seeds)):
            reported = len(scores)
            if reported > end:  # an earlier session judged it here and continued
                continue
            try:
                self.trainer.train(trial, config, self.seeds[:end])
            except ModelError as error:
                state, reason = "failed", one_line(error)
                break
            scores = trial.scores(self.seeds, self.plan.metric)
            for position in range(reported, len(scores)):
                self.study.report(position, scores[position])
            if len(scores) < len(self.seeds) and self.study.is_hopeless():
                state = "pruned"
                break
        trial = trial.ended(state, reason, time.monotonic() - began)
        self.study.end(trial, scores)
        self.trials.append((trial, scores))
        self.observer.ended(trial, scores, self.best() is trial, self._seconds_left())
        self._check_failures()

    def _check_failures(self) -> None:
        ended = [trial for trial, _ in reversed(self.trials)]
        failed = list(itertools.takewhile(lambda trial: trial.state == "failed", ended))
        if len(failed) == len(ended) >= _FAILURES:
            raise ModelError(
                f"the first {len(failed)} trials failed, the last one with: {failed[0].reason}",
                f"Change the settings or the space, and give another --out or delete {self.search.folder}.",
            )
        if len(failed) >= _IN_A_ROW:
            raise ModelError(
                f"the last {len(failed)} trials failed, the last one with: {failed[0].reason}",
                "Correct the cause, and run the same command to continue.",
            )

    def _is_over(self) -> bool:
        if self.plan.trials is not None and len(self.trials) >= self.plan.trials:
            return True
        return self.plan.seconds is not None and sum(self._costs().values()) >= self.plan.seconds

    def _costs(self) -> dict[int, float]:
        """Seconds of training by trial, whatever session it was in."""
        costs = {}
        for trial, _ in self.trials:
            runs = [trial.run(seed) for seed in self.seeds]
            finished = sum(seconds_of(load_cost(run)) for run in runs if (run / layout.METRICS).is_file())
            costs[trial.number] = max(finished, trial.seconds) if trial.state == "failed" else finished
        return costs

    def _seconds_left(self) -> float | None:
        spent = self._costs()
        at_once = self.trainer.at_once(len(self.seeds))
        if self.plan.seconds is not None:
            return max(0.0, self.plan.seconds - sum(spent.values())) / at_once
        assert self.plan.trials is not None, "a sweep has one limit at least"
        mean = sum(spent.values()) / max(1, len(spent))
        return mean * (self.plan.trials - len(self.trials)) / at_once if mean else None

    def _config(self, trial: Trial) -> Config:
        settings = as_settings(trial.values, list(self.trainer.dropout))
        return override(self.search.config, settings, trial.name)

    def _own_values(self) -> dict[str, Any]:
        """The configuration's values that are in the space: the first trial."""
        tree = {DROPOUT: _mean(self.trainer.dropout), **flatten(self.search.config.model_dump())}
        return {key: tree[key] for key, dimension in self.search.space.items() if dimension.holds(tree.get(key))}


def _judgements(seeds: int) -> list[int]:
    """The numbers of runs after which a trial is judged; the last is that of all."""
    return [*range(SEEDS_BEFORE_PRUNING, seeds, SEEDS_BEFORE_PRUNING), seeds]


def _confirm(
    plan: SweepPlan, results: Sequence[SearchResult], observer: ComparisonObserver | None, executor: Executor
) -> ComparisonResult:
    """Compare the winners with fresh seeds; plain fine-tuning is the baseline."""
    arms = []
    first = plan.seeds[-1] + 1
    for each in results:
        if each.config is None:
            raise ModelError(f"no trial of {each.search.name} was completed, so there is nothing to confirm")
        name = "plain-tuned" if each.search.name == PLAIN else "rdrop-tuned"
        arms.append(Arm(name, override(each.config, {"train.seed": first}, name)))
    folder = plan.folder / CONFIRM
    cells = make_cells(arms, range(first, first + plan.confirm), folder)
    check_cells(cells, folder)
    return compare(Grid(arms, cells, folder, "steps"), observer, executor)


def _mean(values: Mapping[str, float]) -> float | None:
    return sum(values.values()) / len(values) if values else None
