"""Find checkpoints, and read what they record about themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rdrop_cli.core.data.columns import ColumnNames
from rdrop_cli.core.model.locate import check_model_folder
from rdrop_cli.core.runs import onnx_export
from rdrop_cli.core.runs.calibration import Calibration, read_calibration
from rdrop_cli.core.runs.finding import runs_by_age
from rdrop_cli.core.runs.layout import BEST, CARD, CONFIG, DATA, METRICS, RUNS, read_json, resume_command
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.storage import hub, integrity
from rdrop_cli.core.storage.files import user_path
from rdrop_cli.errors import CheckpointError, ModelError
from rdrop_cli.wording import listed


@dataclass(frozen=True)
class Checkpoint:
    """A model to evaluate or predict with.

    Attributes:
        name: The argument of `from_pretrained`: a folder or a hub id.
        run: The run folder it belongs to, if any.
        card: The content of rdrop.json; empty for a model that rdrop did not train.
        verified: Its weights were found to be what its manifest says.
    """

    name: str
    run: Path | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    verified: bool = False

    @property
    def remark(self) -> str | None:
        """What must be said of a model whose training has not come to its end; None: it has, as far as is known."""
        if self.run is None or (self.run / METRICS).is_file():
            return None
        return f"{self.run} has not finished: this is its best model so far"

    @property
    def max_length(self) -> int | None:
        """Longest input in tokens, if recorded."""
        return self._count("max_length")

    @property
    def batch_size(self) -> int | None:
        """Texts per forward pass in the evaluations of its training, if recorded."""
        return self._count("batch_size")

    @property
    def label_ids(self) -> Mapping[str, str]:
        """The class name for each label of its training data that was not itself the name."""
        value = self.card.get("label_ids")
        return value if isinstance(value, dict) and all(isinstance(name, str) for name in value.values()) else {}

    @property
    def calibration(self) -> Calibration | None:
        """How its probabilities were calibrated; None: they were not.

        Raises:
            CheckpointError: rdrop.json records something that is no calibration.
        """
        return read_calibration(self.card, Path(self.name) / CARD)

    def _count(self, key: str) -> int | None:
        value = self.card.get(key)
        return value if type(value) is int and 0 < value < 2**31 else None

    @property
    def columns(self) -> ColumnNames:
        """The columns of the data it was trained on, if recorded."""
        return ColumnNames.from_record(self.card.get("columns"))


def find_checkpoint(name: str, *, verify: bool = True) -> Checkpoint:
    """Find a checkpoint by its run or checkpoint folder, a run's name under runs/, or a hub id, in this order.

    Args:
        verify: Read its weights to detect damage; False: `verify_checkpoint` does it later, or they are not needed
            because its ONNX export is used.

    Raises:
        CheckpointError: there is nothing of that name, the run has no finished epoch, or the model is damaged.
        HubError: a model on the hub is not available.
    """
    for folder in (user_path(name), RUNS / name):
        if folder.is_dir():
            return _open(folder, verify)
    if user_path(name).is_file():
        raise CheckpointError(f"{name}: is a file, not a run or checkpoint", "Give the folder of a run.")
    if hub.looks_like_id(name) and not name.startswith("runs/"):
        from rdrop_cli.schema import HubConfig

        hub.require(name, "model", HubConfig())
        return Checkpoint(name, card=_card_on_hub(name))
    runs = [run.name for run in runs_by_age()]
    known = f"Runs: {listed(runs, 5)}." if runs else "There are no runs yet; create one with rdrop train."
    raise CheckpointError(f"{name}: no such run or checkpoint", known)


def newest_finished(*, verify: bool = True) -> Checkpoint:
    """The best model of the run that finished last.

    Args:
        verify: As in `find_checkpoint`.

    Raises:
        CheckpointError: no run has finished.
    """
    for run in runs_by_age():
        if (run / METRICS).is_file() and (run / BEST).is_dir():
            return _open(run, verify)
    raise CheckpointError(f"no finished run found in {RUNS}/", "Train one with rdrop train, or give --checkpoint.")


def trained_on_the_same(first: Checkpoint, second: Checkpoint) -> bool:
    """True if the runs of both checkpoints recorded the same examples in the same splits."""
    if first.run is None or second.run is None:
        return False
    try:
        prints = [read_record(checkpoint.run).get("fingerprint") for checkpoint in (first, second) if checkpoint.run]
    except CheckpointError:
        return False
    return prints[0] is not None and prints[0] == prints[1]


def verify_checkpoint(checkpoint: Checkpoint) -> None:
    """Make sure that a checkpoint in a folder has weights, and that they are what its manifest says.

    Raises:
        CheckpointError: it has none, or they are damaged.
    """
    model = Path(checkpoint.name)
    if checkpoint.verified or not model.is_dir():  # a download is checked as it arrives
        return
    if onnx_export.is_exported(model) and not onnx_export.weights_of(model):
        raise CheckpointError(f"{model}: has an ONNX export, but no PyTorch weights", "Use --backend onnx.")
    try:
        check_model_folder(model)
    except ModelError as error:
        raise CheckpointError(error.message, error.hint) from error
    if integrity.is_sealed(model) and (fault := integrity.damage(model)):
        raise CheckpointError(
            f"{model}: {fault}",
            f"Restore it or use another checkpoint; if you changed it on purpose, delete {model / integrity.MANIFEST}.",
        )


def _card_on_hub(name: str) -> Mapping[str, Any]:
    """The content of rdrop.json in a repository; empty for a model that rdrop did not publish."""
    from rdrop_cli.core.storage.download import download_file

    path = download_file(name, CARD)
    return read_json(path) if path is not None else {}


def _open(folder: Path, verify: bool) -> Checkpoint:
    is_run = (folder / CONFIG).is_file() and not (folder / "config.json").is_file()
    if is_run and not (folder / BEST).is_dir():
        raise CheckpointError(f"{folder}: this run has no finished epoch yet", f"Resume with: {resume_command(folder)}")
    model = folder / BEST if is_run else folder
    run = folder if is_run else next((p for p in model.resolve().parents[:2] if (p / DATA).is_file()), None)
    card = read_json(model / CARD) if (model / CARD).is_file() else {}
    checkpoint = Checkpoint(str(model), run, card)
    if not verify and onnx_export.is_exported(model):
        return checkpoint
    verify_checkpoint(checkpoint)
    return replace(checkpoint, verified=True)
