"""What tests of whole trainings share: looking into a run folder, and interrupting."""

import csv
import os
import signal
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from rdrop_cli.core.trainer.checkpointing import numbered_checkpoints
from rdrop_cli.core.training.observer import Observer

TIME_COLUMNS = {"examples_per_second", "tokens_per_second"}


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(encoding="utf-8") as stream:
        return [{k: v for k, v in row.items() if k not in TIME_COLUMNS} for row in csv.DictReader(stream)]


def newest(run: Path) -> Path:
    return numbered_checkpoints(run / "checkpoints")[0]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(newest(run) / "model.safetensors")


class SignalAt(Observer):
    """Sends this process a signal when a step has ended, as Ctrl-C does."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self.at, self.number = step, number

    def step(self, step: int) -> None:
        if step == self.at:
            os.kill(os.getpid(), self.number)
            time.sleep(0.01)  # the handler runs between two instructions of this thread
