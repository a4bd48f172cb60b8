"""The trials of a sweep on disk: FOLDER/trials/007/trial.json says what a trial tries, its runs lie beside it as seedN.

They are the truth about a sweep. Optuna's study is made from them whenever a sweep starts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from rdrop_cli.core.runs import layout
from rdrop_cli.core.storage.files import make_folder, write_text
from rdrop_cli.errors import CheckpointError

State = Literal["running", "complete", "pruned", "failed"]
TRIALS, TRIAL = "trials", "trial.json"


@dataclass(frozen=True)
class Trial:
    """One set of values.

    Attributes:
        number: Counted from 0.
        folder: With the runs, seedN.
        values: By name in the space.
        state: running: its runs are not all there yet. pruned: it was given up as worse than the best one.
        reason: Why it failed.
        seconds: How long its last session took, if it failed.
    """

    number: int
    folder: Path
    values: Mapping[str, Any]
    state: State = "running"
    reason: str | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The name for display, which counts from 1."""
        return f"trial {self.number + 1}"

    def run(self, seed: int) -> Path:
        """The folder of the run with a seed."""
        return self.folder / f"seed{seed}"

    def scores(self, seeds: Sequence[int], metric: str) -> list[float]:
        """The validation metric of the finished runs, up to the first seed whose run has not finished.

        An undefined metric counts as 0, which is the worst; nll is never undefined.

        Raises:
            CheckpointError: the metrics of a run are damaged.
        """
        scores = []
        for seed in seeds:
            path = self.run(seed) / layout.METRICS
            if not path.is_file():
                break
            try:
                value = layout.read_json(path)["validation"][metric]
                scores.append(0.0 if value is None else float(value))
            except (LookupError, TypeError, ValueError) as error:
                raise CheckpointError(f"{path}: damaged", f"Delete {path.parent} to train it again.") from error
        return scores

    def ended(self, state: State, reason: str | None, seconds: float) -> Trial:
        """The trial with another state, written to its folder.

        Args:
            seconds: Since this session began with it.

        Raises:
            StorageError: it cannot be written.
        """
        changed = replace(self, state=state, reason=reason, seconds=seconds if state == "failed" else 0.0)
        save_trial(changed)
        return changed


def trial_folder(folder: Path, number: int) -> Path:
    """The folder of a trial in a sweep's folder."""
    return folder / TRIALS / f"{number:03d}"


def save_trial(trial: Trial) -> None:
    """Write what a trial tries, and its state.

    Raises:
        StorageError: it cannot be written.
    """
    make_folder(trial.folder)
    document = {
        "number": trial.number,
        "values": dict(trial.values),
        "state": trial.state,
        **({"reason": trial.reason, "seconds": trial.seconds} if trial.state == "failed" else {}),
    }
    write_text(trial.folder / TRIAL, json.dumps(document, indent=2) + "\n")


def load_trials(folder: Path) -> list[Trial]:
    """All trials of a sweep, by number.

    Raises:
        CheckpointError: one is damaged, or one is missing between two others.
    """
    trials: list[Trial] = []
    for path in sorted((folder / TRIALS).glob(f"[0-9]*/{TRIAL}")):
        document = layout.read_json(path)
        values, state, number = document.get("values"), document.get("state"), document.get("number")
        seconds = document.get("seconds", 0.0)  # earlier versions did not record them
        is_sound = isinstance(seconds, int | float) and state in get_args(State)
        if not isinstance(values, dict) or not is_sound or number != len(trials):
            raise CheckpointError(f"{path}: damaged, or a trial before it is missing", f"Restore {path.parent.parent}.")
        trials.append(Trial(number, path.parent, values, cast("State", state), document.get("reason"), float(seconds)))
    return trials
