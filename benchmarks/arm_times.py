"""Seconds that a training takes with each built-in arm of `rdrop compare`, on a machine that does nothing else.

    python benchmarks/arm_times.py --save

One seed with every arm, then the next, so that a slow minute does not fall on one arm. The evaluations after each
epoch, which take as long with every arm, are part of a training.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
from rich.console import Console
from rich.table import Table

ARMS = "plain,smoothing,ema,two-pass,rdrop,rdrop+smoothing,r3f"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train-examples", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, help="Keep the runs in this folder, and train what it lacks.")
    parser.add_argument("--save", action="store_true", help="Keep the results in benchmarks/results/.")
    args = parser.parse_args()

    options = ["--train-examples", str(args.train_examples), "--epochs", str(args.epochs), "--arms", ARMS]
    seconds: dict[str, list[float]] = {}
    place = tempfile.TemporaryDirectory() if args.out is None else contextlib.nullcontext(args.out)
    with place as folder:
        for count in range(1, args.seeds + 1):
            command = ["compare", *options, "--seeds", str(count), "--out", str(folder), "--quiet"]
            subprocess.run([sys.executable, "-m", "rdrop_cli", *command], check=True, stdout=subprocess.DEVNULL)
        for arm in ARMS.split(","):
            costs = [json.loads(path.read_text()) for path in sorted(Path(folder, arm).glob("seed*/training.json"))]
            seconds[arm] = [cost["seconds"] for cost in costs]
    medians = {arm: statistics.median(values) for arm, values in seconds.items()}
    ratios = {
        arm: statistics.median(value / plain for value, plain in zip(values, seconds["plain"], strict=True))
        for arm, values in seconds.items()
    }
    table = Table("arm", "seconds", "of plain's", title=f"A training, {args.seeds} seeds")
    for arm, value in medians.items():
        table.add_row(arm, f"{value:.1f} ({min(seconds[arm]):.1f} to {max(seconds[arm]):.1f})", f"{ratios[arm]:.2f}")
    console = Console(highlight=False)
    console.print(table)
    if args.save:
        command = " ".join(["python benchmarks/arm_times.py", *sys.argv[1:]])
        document = {"compare": " ".join(["rdrop compare", *options]), "seconds": medians, "of_plain": ratios}
        console.print(f"saved {machine.save('arm-times', command, document)}")


if __name__ == "__main__":
    main()
