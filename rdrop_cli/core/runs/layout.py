"""The layout of run folders: names, and reading their files.

A run folder contains config.yaml, data.json, best/, checkpoints/, history.csv and tensorboard/; a finished one also
training.json, predictions of the validation and the test split, and metrics.json; `rdrop report` adds report.html,
and trackers.json records what experiment trackers have received.
config.yaml is written first, metrics.json last, which marks a run as finished. best/ can be loaded with
`from_pretrained`, and its rdrop.json describes the input that the model expects. Folders with weights have a manifest
to detect damage.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from rdrop_cli.core.storage import shell
from rdrop_cli.core.storage.files import flush_folder, unwritable
from rdrop_cli.core.storage.lock import LOCK
from rdrop_cli.errors import CheckpointError, one_line

RUNS, COMPARISONS = Path("runs"), Path("comparisons")
CONFIG, DATA, METRICS, HISTORY = "config.yaml", "data.json", "metrics.json", "history.csv"
PREDICTIONS = {"validation": "validation-predictions.parquet", "test": "test-predictions.parquet"}
COST = "training.json"
TRACKERS = "trackers.json"
"""What experiment trackers have received."""
REPORT = "report.html"
RESULTS = ("results.json", "results-compute.json")
"""Results of a comparison, by budget."""
BEST, CHECKPOINTS, TENSORBOARD = "best", "checkpoints", "tensorboard"
CARD, README, STATE = "rdrop.json", "README.md", "trainer_state.json"
OF_A_RUN = frozenset(
    {
        CONFIG,
        DATA,
        METRICS,
        HISTORY,
        *PREDICTIONS.values(),
        COST,
        TRACKERS,
        REPORT,
        BEST,
        CHECKPOINTS,
        TENSORBOARD,
        LOCK,
    }
)
"""The names of everything in a run folder."""


def new_run_folders(parts: list[str]) -> Iterator[Path]:
    """Candidates for a new run's folder under runs/, with a name made of `parts`: NAME, NAME-2, NAME-3 and so on."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).strip("-.").lower()
    yield RUNS / stem
    for number in itertools.count(2):
        yield RUNS / f"{stem}-{number}"


def resume_command(run: Path) -> str:
    """The command that resumes a run."""
    return shell.join(["rdrop", "train", "--resume", "--out", str(run)])


def clear_run(run: Path) -> None:
    """Remove a run's files from its folder, its configuration last, so that the rest after a kill is still a run.

    Before it goes data.json, by which a run is known whose configuration is damaged.

    Raises:
        StorageError: something cannot be removed.
    """
    try:
        for name in sorted(OF_A_RUN - {LOCK}, key=lambda name: (name == CONFIG, name == DATA, name)):
            if name == CONFIG:
                flush_folder(run)  # so that after a power cut, too, no other file outlasts it
            path = run / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(run, error) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a run folder.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: file not found") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return content


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of a record is a finite number."""
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer beyond float
        return False


def last_written(run: Path) -> float:
    """When a run last wrote a record, in seconds since 1970; 0 if nothing of it can be read."""
    times = [0.0]
    for path in (run / METRICS, run / HISTORY, run / CONFIG, run):
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
        if path == run / CONFIG:
            break  # the folder's own time, which a copy changes, only where there is no configuration
    return max(times)
