"""What tests of trainings share: a plan, looking into a run folder, and interrupting."""

import csv
import os
import shutil
import signal
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from rdrop_cli.core.storage.numbered import numbered_checkpoints
from rdrop_cli.core.training.observer import Observer, TrainingPlan

TIME_COLUMNS = {"examples_per_second", "tokens_per_second"}
PLAN = TrainingPlan(
    run=Path("runs/x"),
    model="tiny",
    data="[red]data[/]\x1b[31m",
    device="CPU",
    precision="float32",
    parameters=1_000_000,
    examples={"train": 8, "validation": 2},
    epochs=2,
    steps=4,
    first_step=0,
    batch_size=4,
    micro_batch_size=2,
    method="R-Drop, alpha 5 (cross-entropy mean; the paper's alpha 10)",
    label_smoothing=0.1,
    metric="f1",
    columns={"text": "review", "label": "stars", "text_pair": None},
    classes={"bad": 30, "good": 70},
    data_notes=["Left out: 2 of 102 rows (review is empty: 2)"],
)


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(encoding="utf-8") as stream:
        return [{k: v for k, v in row.items() if k not in TIME_COLUMNS} for row in csv.DictReader(stream)]


def newest(run: Path) -> Path:
    return numbered_checkpoints(run / "checkpoints")[0]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(newest(run) / "model.safetensors")


def harm(path: Path) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def unfinished(run: Path) -> Path:
    """Make of a finished run of two epochs one that was stopped after its first."""
    shutil.rmtree(newest(run))
    for name in ("metrics.json", "training.json", "test-predictions.parquet", "validation-predictions.parquet"):
        (run / name).unlink()
    return run


class SignalAt(Observer):
    """Sends this process a signal when a step has ended, as Ctrl-C does."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self.at, self.number = step, number

    def step(self, step: int) -> None:
        if step == self.at:
            os.kill(os.getpid(), self.number)
            time.sleep(0.01)  # the handler runs between two instructions of this thread
