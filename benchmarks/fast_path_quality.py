"""What the fast path costs in quality: paired runs of it and of the plain float32 path, the same seeds and data.

    python benchmarks/fast_path_quality.py

Each seed trains the starter recipe on the same 1,000 sentences twice: as it comes (bfloat16 where the machine has it,
cheap dropout, attention in chunks), and with `train.fast=false` in float32, PyTorch's own everything. Head and order of
examples are the same, dropout masks are not. F1 is on the 852 test sentences, which nothing was chosen on.

Of the last fast run's model, two training passes over the test sentences with the same dropout masks, one in bfloat16
and one in float32, then say on how many labels the precisions disagree.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy import stats

from rdrop_cli.config import load_config
from rdrop_cli.core.data.prepare import prepare_data
from rdrop_cli.core.inference.backends.choice import open_classifier
from rdrop_cli.core.model.fast_path import accelerate_training
from rdrop_cli.core.model.loading import quiet_transformers
from rdrop_cli.core.runs.checkpoint import find_checkpoint
from rdrop_cli.core.training.run import TrainingRun

ARMS = {"fast": {}, "plain": {"train.fast": False, "train.precision": "float32"}}


def write_data(folder: Path, examples: int) -> Path:
    """The first sentences of the train split with the whole validation and test splits, as a folder of files."""
    data = prepare_data(load_config("starter"))
    (folder / "data").mkdir()
    for split, rows in data.splits.items():
        count = examples if split == "train" else len(rows)
        chosen = np.random.default_rng(42).permutation(len(rows))[:count]
        with (folder / "data" / f"{split}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label"])
            writer.writerows([rows.texts[index], data.labels.names[int(rows.labels[index])]] for index in chosen)
    return folder / "data"


def train(data: Path, run: Path, seed: int, **settings: Any) -> tuple[dict[str, Any], float]:
    overrides = {"data.source": str(data), "train.seed": seed, "train.tensorboard": False, **settings}
    result = TrainingRun(load_config("starter", overrides.items()), run).start()
    return result.metrics["test"], result.seconds


def disagreement(run: Path, data: Path) -> float:
    """Share of test labels on which bfloat16 and float32 disagree under the same dropout masks."""
    classifier = open_classifier(find_checkpoint(str(run)))
    accelerate_training(classifier.backend.model)
    with (data / "test.csv").open(encoding="utf-8") as stream:
        dataset = classifier.encode([row["text"] for row in csv.DictReader(stream)])
    classifier.backend.model.train()
    labels = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        classifier.backend.precision = precision
        labels[precision] = classifier.probabilities(dataset).argmax(axis=1)
    return float((labels["float32"] != labels["bfloat16"]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--save", action="store_true", help="Keep the results in benchmarks/results/.")
    args = parser.parse_args()
    console = Console()
    quiet_transformers()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder), args.examples)
        for seed in range(42, 42 + args.seeds):
            row: dict[str, Any] = {"seed": seed}
            for arm, settings in ARMS.items():
                run = Path(folder, f"{arm}{seed}")
                metrics, seconds = train(data, run, seed, **settings, **{"train.epochs": args.epochs})
                row |= {f"{arm}_f1": metrics["f1"], f"{arm}_accuracy": metrics["accuracy"], f"{arm}_seconds": seconds}
            rows.append(row)
            differ = disagreement(Path(folder, f"fast{seed}"), data)
            console.print(f"seed {seed}: fast {row['fast_f1']:.4f}, plain {row['plain_f1']:.4f}", highlight=False)
    differences = np.array([row["fast_f1"] - row["plain_f1"] for row in rows])
    mean, error = differences.mean(), stats.sem(differences)
    low, high = stats.t.interval(0.95, len(rows) - 1, loc=mean, scale=error)

    table = Table("seed", "fast F1", "plain F1", "difference", "fast s", "plain s")
    for row, difference in zip(rows, differences, strict=True):
        table.add_row(
            str(row["seed"]),
            f"{row['fast_f1']:.4f}",
            f"{row['plain_f1']:.4f}",
            f"{difference:+.4f}",
            f"{row['fast_seconds']:.0f}",
            f"{row['plain_seconds']:.0f}",
        )
    console.print(table)
    console.print(f"Mean difference {mean:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} (paired t)", highlight=False)
    console.print(f"Same masks, bfloat16 against float32: {differ:.2%} of test labels differ", highlight=False)
    if args.save:
        results = {
            "labels_that_differ_with_the_same_masks": differ,
            "runs": rows,
            "mean_f1_difference": mean,
            "interval_95": [low, high],
        }
        command = " ".join(["python benchmarks/fast_path_quality.py", *sys.argv[1:]])
        console.print(f"Saved {machine.save('fast-path-quality', command, results)}", highlight=False)


if __name__ == "__main__":
    main()
