"""What rdrop does on a GPU: right, robust and how fast, in one call of under ten minutes.

    bash benchmarks/gpu.sh                       # checks the packages first, then this
    python benchmarks/gpu.py --device cpu --tiny # without a GPU, a minute or two
    python benchmarks/gpu.py --only speed        # one part; may be given several times

Weights are made on the spot, with the shape of roberta-base; nothing is downloaded. Each part is a process of its own
with a time limit, so that one that fails leaves the others' figures; the exit code is then 1. The parts are in
`gpu_checks.py` and `gpu_speed.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gpu_checks
import gpu_speed
import machine
import torch
from gpu_common import Setting
from rich.console import Console
from rich.table import Table

PARTS = {
    "correctness": (gpu_checks.correctness, 90),
    "value_reads": (gpu_checks.value_reads, 45),
    "float16": (gpu_checks.float16, 60),
    "micro_batch": (gpu_checks.micro_batch, 75),
    "resume": (gpu_checks.resume, 60),
    "speed": (gpu_speed.speed, 260),
    "profile": (gpu_speed.profile, 60),
}
"""What is done, and the seconds it may take."""


def run_part(name: str, setting: Setting) -> dict[str, Any]:
    """A part's results, from a process of its own; `error` holds the last line of one that failed."""
    _, budget = PARTS[name]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "part.json"
        command = [sys.executable, __file__, "--device", setting.device, "--part", name, "--out", str(target)]
        command += ["--tiny"] if setting.tiny else []
        try:
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=budget, check=False)
        except subprocess.TimeoutExpired:
            found: dict[str, Any] = {"error": f"not done within {budget} seconds"}
        else:
            found = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {}
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if line.strip()]
                found["error"] = lines[-1] if lines else f"exit code {done.returncode}"
    return {**found, "seconds": round(time.perf_counter() - began, 1)}


def show(console: Console, results: dict[str, Any]) -> None:
    """The checks, the speeds and the most expensive operations as tables."""
    table = Table(title="Checks", title_justify="left")
    for heading in ("part", "outcome", "seconds"):
        table.add_column(heading, overflow="fold")
    for name, found in results.items():
        outcome = f"failed: {found['error']}" if "error" in found else found.get("outcome", "done")
        table.add_row(name, outcome, f"{found['seconds']:.0f}")
    console.print(table)
    if rows := results.get("speed", {}).get("rows"):
        table = Table(title="Speed", title_justify="left")
        for heading in ("lengths", "precision", "arm", "examples/s", "of products", "peak GiB"):
            table.add_column(heading, justify="left" if heading in ("lengths", "precision", "arm") else "right")
        for row in rows:
            table.add_row(
                row["lengths"],
                row["precision"],
                row["arm"],
                f"{row['examples_per_second']:.1f}",
                f"{row['share_of_products']:.1%}",
                f"{row['peak_memory_bytes'] / 2**30:.1f}",
            )
        console.print(table)
    if operations := results.get("profile", {}).get("operations"):
        table = Table(title="Most expensive operations of rdrop's steps", title_justify="left")
        for heading in ("operation", "ms a step", "share", "calls a step"):
            table.add_column(heading, justify="left" if heading == "operation" else "right")
        for row in operations:
            table.add_row(row["name"], f"{row['milliseconds']:.2f}", f"{row['share']:.1%}", f"{row['calls']:.0f}")
        console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="A small model and few steps, to see that it works.")
    parser.add_argument("--only", action="append", choices=PARTS, help="Only this part.")
    parser.add_argument("--out", type=Path, help="The JSON file; on a GPU benchmarks/results/gpu.json.")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print("error: no CUDA GPU here. Use --device cpu --tiny to see that it works.", file=sys.stderr)  # noqa: T201
        return 1
    setting = Setting(args.device, args.tiny)
    if args.part:
        results = PARTS[args.part][0](setting)
        args.out.write_text(json.dumps(results), encoding="utf-8")
        return 0

    console = Console()
    console.width = max(console.width, 100)
    results = {}
    for name in args.only or PARTS:
        console.print(f"{name} ...", highlight=False)
        results[name] = run_part(name, setting)
    show(console, results)
    options = [f"--device {args.device}"] * (args.device != "cuda") + ["--tiny"] * args.tiny
    document = {
        "command": " ".join(["bash benchmarks/gpu.sh", *options]),
        "machine": machine.describe() | ({"gpu": None} if args.device == "cpu" else {}),
        "tiny": args.tiny,
        "parts": results,
    }
    target = args.out or (machine.RESULTS / "gpu.json" if args.device == "cuda" and not args.tiny else None)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        console.print(f"Saved {target}", highlight=False)
    return int(any("error" in found for found in results.values()))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
