"""Run folders and checkpoints: naming, finding, and what a checkpoint says about itself.

A run folder holds config.yaml, data.json, best/, checkpoints/, history.csv and tensorboard/; a finished one also
training.json, test-predictions.parquet (if there is a test split) and, written last, metrics.json.
best/ is what `from_pretrained` loads; its rdrop.json tells how the model wants its input. The folders of weights carry
a manifest, by which a damaged one is found.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdrop_cli.core import hub, manifest, models
from rdrop_cli.core.files import unwritable, user_path
from rdrop_cli.core.lock import LOCK
from rdrop_cli.errors import CheckpointError, ModelError
from rdrop_cli.schema import HubConfig

RUNS = Path("runs")
CONFIG, DATA, METRICS, HISTORY = "config.yaml", "data.json", "metrics.json", "history.csv"
PREDICTIONS, COST = "test-predictions.parquet", "training.json"
BEST, CHECKPOINTS, TENSORBOARD = "best", "checkpoints", "tensorboard"
CARD = "rdrop.json"
OF_A_RUN = frozenset({CONFIG, DATA, METRICS, HISTORY, PREDICTIONS, COST, BEST, CHECKPOINTS, TENSORBOARD, LOCK})
"""All that a run folder holds."""


@dataclass(frozen=True)
class Checkpoint:
    """A model to evaluate or predict with.

    Attributes:
        name: What `from_pretrained` takes: a folder or a hub id.
        run: The run folder it belongs to, if any.
        card: What rdrop.json says; empty for a model that rdrop did not train.
    """

    name: str
    run: Path | None = None
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def max_length(self) -> int | None:
        """Longest input in tokens, where the checkpoint says."""
        return self._count("max_length")

    @property
    def batch_size(self) -> int | None:
        """Texts per forward pass in training's evaluations, where the checkpoint says."""
        return self._count("batch_size")

    @property
    def label_ids(self) -> Mapping[str, str]:
        """How its training read labels that are not the name of their class."""
        value = self.card.get("label_ids")
        return value if isinstance(value, dict) and all(isinstance(name, str) for name in value.values()) else {}

    def _count(self, key: str) -> int | None:
        value = self.card.get(key)
        return value if isinstance(value, int) and 0 < value < 2**31 else None

    @property
    def columns(self) -> Mapping[str, str | None]:
        """The column names of the data it was trained on: text, label, text_pair."""
        value = self.card.get("columns")
        is_usable = isinstance(value, dict) and all(isinstance(name, str | None) for name in value.values())
        return value if isinstance(value, dict) and is_usable else {}


def find(name: str, hub_config: HubConfig | None = None) -> Checkpoint:
    """A checkpoint by run or checkpoint folder, by a run's name under runs/, or by hub id, tried in this order.

    Raises:
        CheckpointError: nothing of that name, or a run without a finished epoch.
        HubError: a hub id that cannot be had.
    """
    for folder in (user_path(name), RUNS / name):
        if folder.is_dir():
            return _open(folder)
    if hub.looks_like_id(name) and not name.startswith("runs/"):
        hub.require(name, "model", hub_config or HubConfig())
        return Checkpoint(name)
    runs = [run.name for run in runs_by_age()]
    known = f"Runs: {', '.join(runs[:5])}." if runs else "There are no runs here yet: rdrop train makes one."
    raise CheckpointError(f"{name}: no such run or checkpoint", known)


def newest_finished() -> Checkpoint:
    """The run that finished last.

    Raises:
        CheckpointError: there is none.
    """
    for run in runs_by_age():
        if (run / METRICS).is_file() and (run / BEST).is_dir():
            return _open(run)
    raise CheckpointError(f"no finished run under {RUNS}/", "Train one with rdrop train, or give --checkpoint.")


def newest_unfinished() -> Path:
    """The run folder to resume when none is named.

    Raises:
        CheckpointError: there is none.
    """
    for run in runs_by_age():
        if not (run / METRICS).is_file():
            return run
    raise CheckpointError(f"no unfinished run under {RUNS}/", "Name one: --out RUN --resume.")


def runs_by_age() -> list[Path]:
    """Run folders under runs/, the one that wrote last first."""
    if not RUNS.is_dir():
        return []
    runs = [path for path in RUNS.iterdir() if (path / CONFIG).is_file() and not path.name.startswith(".")]
    return sorted(runs, key=_last_written, reverse=True)


def new_run_folders(parts: list[str]) -> Iterator[Path]:
    """Folders under runs/ named after what is special about a run: NAME, NAME-2, NAME-3 and so on."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).strip("-.").lower()
    yield RUNS / stem
    for number in itertools.count(2):
        yield RUNS / f"{stem}-{number}"


def numbered(folder: Path) -> list[Path]:
    """The `checkpoint-STEP` folders in a folder, most steps first."""
    found = {
        int(match[1]): path
        for path in folder.glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and path.is_dir()
    }
    return [found[step] for step in sorted(found, reverse=True)]


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which a checkpoint was saved."""
    return int(checkpoint.name.rpartition("-")[2])


def clear(run: Path) -> None:
    """Remove what makes a run from its folder, its configuration last: what a kill leaves is still known for a run.

    Raises:
        StorageError: something cannot be removed.
    """
    try:
        for name in sorted(OF_A_RUN - {LOCK}, key=lambda name: name == CONFIG):
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
        CheckpointError: missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({hub.one_line(error)})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return content


def read_record(run: Path) -> dict[str, Any]:
    """What a run recorded of its data and model.

    Raises:
        CheckpointError: missing, damaged or changed by hand.
    """
    record = read_json(run / DATA)
    if not manifest.is_signed(record):
        raise CheckpointError(f"{run / DATA}: is not as it was written", "Give DATA by name, or train a new run.")
    return record


def trained_on_the_same(first: Checkpoint, second: Checkpoint) -> bool:
    """True where both checkpoints' runs recorded the same examples in the same splits."""
    if first.run is None or second.run is None:
        return False
    try:
        prints = [read_record(checkpoint.run).get("fingerprint") for checkpoint in (first, second) if checkpoint.run]
    except CheckpointError:
        return False
    return prints[0] is not None and prints[0] == prints[1]


def _last_written(run: Path) -> float:
    files = (run / METRICS, run / HISTORY, run / CONFIG)
    return max(path.stat().st_mtime for path in files if path.is_file())


def _open(folder: Path) -> Checkpoint:
    is_run = (folder / CONFIG).is_file() and not (folder / "config.json").is_file()
    if is_run and not (folder / BEST).is_dir():
        raise CheckpointError(
            f"{folder}: this run has no finished epoch yet", f"Go on with: rdrop train --resume --out {folder}"
        )
    model = folder / BEST if is_run else folder
    try:
        models.check_folder(model)
    except ModelError as error:
        raise CheckpointError(error.message, error.hint) from error
    if manifest.is_sealed(model) and (fault := manifest.damage(model)):
        raise CheckpointError(
            f"{model}: {fault}",
            f"Use a copy or another checkpoint; if it was changed on purpose, delete {model / manifest.MANIFEST}.",
        )
    run = folder if is_run else next((p for p in model.resolve().parents[:2] if (p / DATA).is_file()), None)
    card = read_json(model / CARD) if (model / CARD).is_file() else {}
    return Checkpoint(str(model), run, card)
