"""A Trainer whose checkpoints are either complete or absent."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from rdrop_cli import processes
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.files import flush_folder, staging_of, writing
from rdrop_cli.core.storage.numbered import numbered_checkpoints
from rdrop_cli.errors import StorageError

_LITTLE = 2**20
"""With fewer free bytes than this after a failed write, the disk is considered full."""


class WholeCheckpoints(Trainer):
    """Saves a checkpoint under a temporary name, seals it and renames it, so that a kill leaves no partial checkpoint.

    Several processes write into one checkpoint, and the main process renames it when all have finished. The newest
    `args.save_total_limit` checkpoints are kept, and the best one.

    Attributes:
        damaged: Checkpoints known to be damaged; they are removed once a new one is saved.
    """

    _staging: str | None = None
    damaged: Collection[Path] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # With a limit of 1, the base class would remove the newest checkpoint at the end of training.
        self._limit, self.args.save_total_limit = self.args.save_total_limit, None

    def write_extras(self, folder: Path) -> None:
        """Write further files of a checkpoint. Called in the main process, before the checkpoint is sealed."""

    def _get_output_dir(self, trial: Any) -> str:
        return self._staging or str(super()._get_output_dir(trial))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(super()._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        self._staging = processes.broadcast(str(staging_of(folder / f"{name}.saving")))
        try:
            with self._finishing(folder / name):
                self._check_weights(model)
                super()._save_checkpoint(model, trial)
                # The base class has recorded the temporary path; record the final one, if that checkpoint still exists.
                best = folder / f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}"
                is_kept = best.is_dir() or best.name == name
                self.state.best_model_checkpoint = str(best) if is_kept else None
        finally:
            self._staging = None
        if processes.is_main_process():
            self.damaged = [path for path in self.damaged if path != folder / name]  # it has just been replaced
            self.remove_old(folder)
        processes.barrier()

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """As the base class; of evaluations with the same metric, the one with the lower loss is the best.

        Ties are common on small validation sets, and the first of them is the one that has learned least.
        """
        if super()._determine_best_metric(metrics, trial):
            return True
        name = (self.args.metric_for_best_model or "").removeprefix("eval_")
        if metrics.get(f"eval_{name}") != self.state.best_metric:
            return False
        steps = {row["step"]: row["eval_loss"] for row in self.state.log_history if "eval_loss" in row}
        before = steps.get(self.state.best_global_step)
        if before is None or not metrics.get("eval_loss", before) < before:
            return False
        self.state.best_global_step = self.state.global_step
        return True

    def _check_weights(self, model: nn.Module) -> None:
        """Refuse to save weights that a run could not resume from.

        Raises:
            FloatingPointError: a weight is infinite or NaN.
        """
        with torch.no_grad():
            if not all(torch.isfinite(weight).all() for weight in model.parameters()):
                raise FloatingPointError(f"the weights are no longer finite at step {self.state.global_step}")

    @contextlib.contextmanager
    def _finishing(self, target: Path) -> Iterator[None]:
        """Let every process save into the staging folder; afterwards the main process moves it to `target`."""
        saved = Path(str(self._staging))
        if not processes.is_main_process():
            yield
            processes.barrier()
            return
        try:
            with writing(target) as staging, _map_write_errors(target):
                yield
                processes.barrier()  # all processes have written their random states
                Path(saved, target.name).rename(staging)
                self.state.save_to_json(str(staging / TRAINER_STATE_NAME))
                self.write_extras(staging)
                (staging / TRAINING_ARGS_NAME).unlink(missing_ok=True)  # a pickle that is never read
                integrity.seal(staging)
        finally:
            shutil.rmtree(saved, ignore_errors=True)

    def remove_old(self, folder: Path) -> None:
        """Remove damaged checkpoints, and those that are neither among the newest nor the best."""
        whole = [path for path in numbered_checkpoints(folder) if path not in self.damaged]
        best = f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}"
        old = [path for path in whole[self._limit :] if path.name != best] if self._limit else []
        removed = [*old, *self.damaged]
        for path in removed:
            # A checkpoint that cannot be removed only takes space; the next save tries again.
            shutil.rmtree(path, ignore_errors=True)
        if removed:
            with contextlib.suppress(StorageError):  # unflushed, a power cut could restore part of it
                flush_folder(folder)
        self.damaged = ()


@contextlib.contextmanager
def _map_write_errors(target: Path) -> Iterator[None]:
    """Turn errors of failed writes that are not OSErrors into a StorageError.

    PyTorch raises a RuntimeError, safetensors its own exception, and tokenizers a bare Exception.
    """
    try:
        yield
    except Exception as error:
        signs = ("PytorchStreamWriter", "inline_container", "iostream error", "os error")
        if isinstance(error, OSError) or not any(sign in str(error) for sign in signs):
            raise
        parent = next(path for path in target.parents if path.exists())
        full = shutil.disk_usage(parent).free < _LITTLE
        cause = "no space left on the disk" if full else "the system refused to write"
        raise StorageError(f"{target}: cannot be written ({cause})") from error
