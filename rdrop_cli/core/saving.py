"""A Trainer whose checkpoints are whole or not there at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from rdrop_cli import processes
from rdrop_cli.core.files import writing


class WholeCheckpoints(Trainer):
    """Saves a checkpoint beside its final place and renames it, so that a kill in the middle leaves no broken one.

    Several processes write into one checkpoint; the main one renames it when all are done.
    """

    _staging: str | None = None

    def write_extras(self, folder: Path) -> None:
        """Write what else belongs into a checkpoint; called in the main process."""

    def _get_output_dir(self, trial: Any) -> str:
        return self._staging or str(super()._get_output_dir(trial))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(super()._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        self._staging = processes.from_main(str(folder / f".{name}.{os.getpid()}.saving"))
        try:
            with self._finishing(folder / name):
                super()._save_checkpoint(model, trial)
                best = folder / f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}"
                is_kept = best.is_dir() or best.name == name
                self.state.best_model_checkpoint = str(best) if is_kept else None
        finally:
            self._staging, self.args.save_total_limit = None, limit
        if processes.is_main():
            rotate_checkpoints(
                output_dir=str(folder),
                save_total_limit=limit,
                best_model_checkpoint=self.state.best_model_checkpoint if self.args.load_best_model_at_end else None,
            )
        processes.wait()

    @contextlib.contextmanager
    def _finishing(self, target: Path) -> Iterator[None]:
        """The block saves below the staging folder, in every process; then the main one moves it to `target`."""
        saved = Path(str(self._staging))
        if not processes.is_main():
            yield
            processes.wait()
            return
        try:
            with writing(target) as staging:
                yield
                processes.wait()
                Path(saved, target.name).rename(staging)
                self.state.save_to_json(str(staging / TRAINER_STATE_NAME))
                self.write_extras(staging)
                (staging / TRAINING_ARGS_NAME).unlink(missing_ok=True)  # a pickle that nothing reads
        finally:
            shutil.rmtree(saved, ignore_errors=True)
