"""`rdrop predict` for a few texts as a whole process: seconds and peak memory, ONNX Runtime and PyTorch in turn.

    rdrop train --alpha 5                                                # the README's first command
    python benchmarks/cold_start.py --checkpoint runs/NAME --save

Each command runs in a process of its own. The first round, which fills the file cache, is not counted. The bare line
runs no rdrop at all: the thirty lines of docs/predicting.md need no more than it loads.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

TEXTS = {
    "1 text": ["great movie"],
    "20 texts": [f"{judgement} {thing}" for thing in ("movie", "plot", "actors", "music", "ending")
                 for judgement in ("a great", "a dull", "what a lovely", "I did not like the")],
}  # fmt: skip
BACKENDS = ("onnx", "torch")
BARE = "import numpy, onnxruntime, tokenizers"


def run(command: list[str]) -> tuple[float, float]:
    """The seconds that a command takes, and its peak memory in megabytes.

    A process inherits the peak of the one that started it, so this one must stay small: it imports nothing heavy.
    """
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}: {' '.join(command)}")
    return seconds, usage.ru_maxrss * 1024 / 1e6


def commands(checkpoint: str) -> dict[str, list[str]]:
    """Each command line by its name."""
    lines = {"bare": [sys.executable, "-c", BARE]}
    for count, texts in TEXTS.items():
        for backend in BACKENDS:
            options = ["--checkpoint", checkpoint, "--backend", backend]
            lines[f"{count}, {backend}"] = [sys.executable, "-m", "rdrop_cli", "predict", *texts, *options]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="A run with an ONNX export.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--save", action="store_true", help="Keep the results in benchmarks/results/.")
    args = parser.parse_args()

    lines = commands(args.checkpoint)
    seconds: dict[str, list[float]] = {name: [] for name in lines}
    memory: dict[str, list[float]] = {name: [] for name in lines}
    for number in range(args.rounds + 1):
        for name, line in lines.items():
            spent, used = run(line)
            if number:
                seconds[name].append(spent)
                memory[name].append(used)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {
        count: statistics.median(
            slow / fast for slow, fast in zip(seconds[f"{count}, torch"], seconds[f"{count}, onnx"], strict=True)
        )
        for count in TEXTS
    }

    import machine  # imports PyTorch

    table = Table("", "median s", "least", "most", "peak MB", title=f"rdrop predict, {args.rounds} rounds")
    for name, values in seconds.items():
        table.add_row(
            name, f"{medians[name]:.2f}", f"{min(values):.2f}", f"{max(values):.2f}", f"{max(memory[name]):.0f}"
        )
    console = Console()
    console.print(table)
    for count, ratio in ratios.items():
        console.print(f"{count}: ONNX is faster by {ratio:.1f}x", highlight=False)
    if args.save:
        results = {
            "checkpoint": Path(args.checkpoint).name,
            "seconds": medians,
            "most_seconds": {name: max(values) for name, values in seconds.items()},
            "onnx_is_faster_by": ratios,
            "peak_megabytes": {name: max(values) for name, values in memory.items()},
        }
        command = " ".join(["python benchmarks/cold_start.py", *sys.argv[1:]])
        console.print(f"Saved {machine.save('cold-start', command, results)}")


if __name__ == "__main__":
    main()
