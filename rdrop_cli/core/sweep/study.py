"""Optuna's view of a sweep: it proposes values, and says which trials to give up.

The study is made from the trials on disk each time, so it can be deleted. Its journal is there for Optuna's own tools.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.storage.files import unwritable
from rdrop_cli.core.sweep.space import Choices, Dimension, Range

if TYPE_CHECKING:
    import optuna

    from rdrop_cli.core.sweep.trials import Trial

JOURNAL, NAME = "study.journal", "rdrop"
_FIRST_RANDOM = 10
"""Trials that are drawn at random before the sampler has learned anything."""
SEEDS_BEFORE_PRUNING = 4
"""Runs of a trial before the first judgement, and between one and the next."""
_P_TO_PRUNE = 0.1


class Study:
    """A study made from trials.

    Args:
        folder: Where its journal is written.
        space: What varies.
        seed: With a trial's number it decides what the sampler draws for it, so that a resumed sweep continues as an
            uninterrupted one would.
        maximize: Whether a higher score is better.
        trials: Those that there are, with their scores.
        first: Values to try first, such as those of the configuration; all others are drawn.

    Raises:
        StorageError: the journal cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        space: Mapping[str, Dimension],
        *,
        seed: int,
        maximize: bool,
        trials: Sequence[tuple[Trial, Sequence[float]]],
        first: Mapping[str, Any],
    ) -> None:
        self._space, self._seed, self._first = space, seed, first
        with _quietly():
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            self._distributions = {name: _distribution(dimension) for name, dimension in space.items()}
            journal = folder / JOURNAL
            try:
                journal.unlink(missing_ok=True)
                storage = JournalStorage(JournalFileBackend(str(journal)))
            except OSError as error:
                raise unwritable(journal, error) from error
            pruner = optuna.pruners.WilcoxonPruner(p_threshold=_P_TO_PRUNE, n_startup_steps=SEEDS_BEFORE_PRUNING)
            self._study = optuna.create_study(
                storage=storage, study_name=NAME, direction="maximize" if maximize else "minimize", pruner=pruner
            )
            self._open: optuna.Trial | None = None
            for trial, scores in trials:
                if trial.state == "running":
                    self._study.enqueue_trial(dict(trial.values))
                    self._ask(trial.number)
                    for step, score in enumerate(scores):
                        self.report(step, score)
                else:
                    self._study.add_trial(self._ended(trial, scores))

    def propose(self, number: int) -> dict[str, Any]:
        """The values of the next trial, which becomes the open one."""
        with _quietly():
            if number == 0 and self._first:
                self._study.enqueue_trial(dict(self._first))
            return self._ask(number)

    def report(self, step: int, score: float) -> None:
        """Tell the score of one seed of the open trial."""
        with _quietly():
            self._current.report(score, step)

    def is_hopeless(self) -> bool:
        """Whether the open trial is worse than the best one by a signed-rank test over the seeds that both have."""
        with _quietly():
            return bool(self._current.should_prune())

    def end(self, trial: Trial, scores: Sequence[float]) -> None:
        """Close the open trial with the state that it has."""
        import optuna

        states = optuna.trial.TrialState
        state = {"complete": states.COMPLETE, "pruned": states.PRUNED}.get(trial.state, states.FAIL)
        with _quietly():
            self._study.tell(self._current, _mean(scores) if trial.state == "complete" else None, state=state)
        self._open = None

    @property
    def _current(self) -> optuna.Trial:
        assert self._open is not None, "a trial has been proposed and has not ended"
        return self._open

    def _ask(self, number: int) -> dict[str, Any]:
        import optuna

        digest = hashlib.sha256(f"{self._seed} {number}".encode()).digest()
        self._study.sampler = optuna.samplers.TPESampler(
            seed=int.from_bytes(digest[:4], "big"), n_startup_trials=_FIRST_RANDOM
        )
        self._open = self._study.ask(self._distributions)
        return dict(self._open.params)

    def _ended(self, trial: Trial, scores: Sequence[float]) -> optuna.trial.FrozenTrial:
        import optuna

        states = optuna.trial.TrialState
        state = {"complete": states.COMPLETE, "pruned": states.PRUNED}.get(trial.state, states.FAIL)
        return optuna.trial.create_trial(
            state=state,
            params=dict(trial.values),
            distributions=self._distributions,
            value=_mean(scores) if trial.state == "complete" else None,
            intermediate_values=dict(enumerate(scores)),
        )


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.values)
    assert isinstance(dimension, Range)
    if dimension.is_whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Optuna's notes about each trial, and about parts that it calls experimental."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
