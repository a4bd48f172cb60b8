"""Whether a change of the code changes what the starter learns: paired runs of two versions, the same seeds and data.

    git worktree add ../before VERSION
    python benchmarks/version_quality.py --before ../before

Each seed trains the starter recipe on the same 1,000 sentences with both versions, through their command lines. Metrics
are those of the 852 test sentences, which nothing was chosen on. Runs stand in --work, where finished ones are not
trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import machine
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

ROOT = Path(__file__).parent.parent
METRICS = ("accuracy", "f1", "roc_auc", "nll")
SETTINGS = ["--train-examples", "1000", "--epochs", "4", "--set", "train.early_stopping.patience=0"]
"""All epochs are trained; the best one is chosen on validation."""


def train(tree: Path, work: Path, name: str, seed: int, settings: list[str]) -> dict[str, Any]:
    """The test metrics of one version's run."""
    run = work / name / f"seed{seed}"
    if not (run / "metrics.json").is_file():
        command = [sys.executable, "-m", "rdrop_cli", "train", "rotten-tomatoes", *SETTINGS, *settings]
        command += ["--set", "train.tensorboard=false", "--seed", str(seed), "--quiet"]
        command += ["--out", str(Path(name, run.name))]
        environment = {**os.environ, "PYTHONPATH": str(tree.resolve())}
        subprocess.run(command, cwd=work, env=environment, check=True, stdout=subprocess.DEVNULL)
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]
    return metrics


def paired(differences: np.ndarray) -> dict[str, float]:
    """Mean and 95 % paired t interval."""
    low, high = stats.t.interval(0.95, len(differences) - 1, loc=differences.mean(), scale=stats.sem(differences))
    return {"mean": float(differences.mean()), "low": float(low), "high": float(high)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="The source tree of the version before.")
    parser.add_argument("--work", type=Path, default=Path("version-quality"), help="Where the runs stand.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--save", action="store_true", help="Keep the results in benchmarks/results/.")
    args, settings = parser.parse_known_args()
    console = Console(highlight=False)
    args.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(42, 42 + args.seeds):
        found = {
            name: train(tree, args.work, name, seed, settings)
            for name, tree in (("before", args.before), ("after", ROOT))
        }
        rows.append({"seed": seed, **{name: {key: found[name][key] for key in METRICS} for name in found}})
        shown = ", ".join(f"{key} {found['before'][key]:.4f} -> {found['after'][key]:.4f}" for key in METRICS)
        console.print(f"seed {seed}: {shown}")

    summary = {
        key: paired(np.array([row["after"][key] - row["before"][key] for row in rows]))  # type: ignore[index]
        for key in METRICS
    }
    table = Table("metric", "mean difference", "95 % interval")
    for key, found in summary.items():
        table.add_row(key, f"{found['mean']:+.4f}", f"{found['low']:+.4f} to {found['high']:+.4f}")
    console.print(table)
    if args.save:
        command = " ".join(["python benchmarks/version_quality.py", *sys.argv[1:]])
        console.print(f"Saved {machine.save('version-quality', command, {'differences': summary, 'runs': rows})}")


if __name__ == "__main__":
    main()
