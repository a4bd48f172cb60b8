"""Train the runs of a sweep's trials, through a comparison's machinery."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rdrop_cli import wording
from rdrop_cli.core.comparison.arms import Arm
from rdrop_cli.core.comparison.grid import Cell
from rdrop_cli.core.comparison.observer import ComparisonObserver
from rdrop_cli.core.comparison.plan import free_space, weights_in
from rdrop_cli.core.comparison.runner import Comparison
from rdrop_cli.core.model.loading import encoder_dropout
from rdrop_cli.core.model.locate import fetch_model, locate_model
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.resolve import as_recorded
from rdrop_cli.core.sweep.study import SEEDS_BEFORE_PRUNING
from rdrop_cli.core.training.forecast import disk_needed
from rdrop_cli.errors import ConfigError, TrainingInterrupted

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.core.executors.base import Executor
    from rdrop_cli.core.sweep.observer import SweepObserver
    from rdrop_cli.core.sweep.plan import SweepPlan
    from rdrop_cli.core.sweep.trials import Trial
    from rdrop_cli.core.training.observer import Observer
    from rdrop_cli.schema import Config


class _TrialObserver(ComparisonObserver):
    """Tells a sweep's observer what a comparison tells of its cells.

    Attributes:
        trial: The one whose runs are the cells.
    """

    trial: Trial

    def __init__(self, observer: SweepObserver, seeds: Sequence[int]) -> None:
        self.training = observer.training
        self._observer, self._seeds = observer, list(seeds)

    def data(self, data: Prepared) -> None:
        self._observer.data(data)

    def training_of(self, cell: Cell) -> Observer:
        return self._observer.began(self.trial, cell.seed, self._seeds.index(cell.seed) + 1, len(self._seeds))

    def failed(self, cell: Cell, why: str) -> None:
        self._observer.failed(self.trial, cell.seed, why)


class TrialTrainer:
    """Trains runs of trials, all on the same data and from the same weights.

    Args:
        executor: Open.

    Attributes:
        dropout: The encoder's own dropout probabilities by their keys.
    """

    def __init__(self, plan: SweepPlan, observer: SweepObserver, executor: Executor) -> None:
        config = plan.searches[0].config
        self._executor = executor
        self._watching = _TrialObserver(observer, plan.seeds)
        settings = Cell(Arm("settings", config), config.train.seed, plan.folder / "settings")
        self._comparison = Comparison([settings], plan.folder, self._watching)
        self._comparison.prepare()
        name = fetch_model(locate_model(config.model, config.hub), config.model.revision, observer.training.stage)
        self.dropout = encoder_dropout(name, config.model)
        self._check_space(plan, weights_in(Path(name)), observer)

    def train(self, trial: Trial, config: Config, seeds: Sequence[int]) -> None:
        """Train the runs of a trial with these seeds, except those that have finished.

        Raises:
            RDropError: as in training.
        """
        arm = Arm(trial.name, config)
        cells = [Cell(arm, seed, trial.run(seed)) for seed in seeds]
        for cell in cells:
            if cell.has_begun and (changed := as_recorded(cell.folder, cell.config)[1]):
                raise ConfigError(
                    f"{cell.folder}: this run was trained with other settings: {'; '.join(changed)}",
                    f"Delete {cell.folder}.",
                )
        self._watching.trial = trial
        try:
            self._comparison.train(cells, self._executor)
        except TrainingInterrupted as error:
            if self._executor.in_process:
                raise
            kept = " and saved" if self._executor.saves else "; finished runs are kept"
            raise TrainingInterrupted(f"Stopped in {trial.name}{kept}", error.hint) from error

    def _check_space(self, plan: SweepPlan, weights: int, observer: SweepObserver) -> None:
        """Say so if the disk is too small for all runs that there can be; some may be given up before they begin."""
        wanted = sum((plan.trials or 1) * len(plan.seeds) + plan.confirm for _ in plan.searches)
        done = len(list(plan.folder.glob(f"**/seed*/{layout.METRICS}")))
        configs = [plan.searches[0].config] * max(0, wanted - done)
        needed, free = disk_needed(weights, configs, self.at_once(len(plan.seeds))), free_space(plan.folder)
        if free < needed:
            observer.training.notice(
                f"Disk: each run keeps its model, and {len(configs)} more need {wording.size(needed)} at most;"
                f" {wording.size(free)} are free. A full disk stops the sweep, and the same command resumes it"
            )

    def at_once(self, runs: int) -> int:
        """How many of a trial's runs are trained at the same time."""
        return max(1, min(self._executor.slots(), runs, SEEDS_BEFORE_PRUNING))
