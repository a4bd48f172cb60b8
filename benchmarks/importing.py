"""Core seconds to import what a training needs, and to end: with Python's garbage collector at work, and without.

    python benchmarks/importing.py --save

Each time in a process of its own, in turn; the first round, which fills the file cache, is not counted. Core seconds
say more than a clock's on a machine that does other work.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

from rich.console import Console

_IMPORT = "with large_imports():\n    import rdrop_cli.core.training.run"
WAYS = {
    "collector at work": f"from rdrop_cli.large_imports import large_imports\n{_IMPORT}",
    "as rdrop does": f"from rdrop_cli.large_imports import in_own_process, large_imports\nin_own_process()\n{_IMPORT}",
}


def core_seconds(code: str) -> float:
    """What a fresh Python with some code takes of the cores."""
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}: {code}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--save", action="store_true", help="Keep the results in benchmarks/results/.")
    args = parser.parse_args()

    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(args.rounds + 1):
        for name, code in WAYS.items():
            seconds = core_seconds(code)
            if number:
                spent[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in spent.items()}
    stock, ours = WAYS
    share = statistics.median(after / before for before, after in zip(spent[stock], spent[ours], strict=True))

    console = Console()
    for name, values in spent.items():
        console.print(f"{name}: {medians[name]:.2f} s ({min(values):.2f} to {max(values):.2f})", highlight=False)
    console.print(f"as rdrop does takes {share:.2f} times as much", highlight=False)
    if args.save:
        import machine  # imports PyTorch

        command = " ".join(["python benchmarks/importing.py", *sys.argv[1:]])
        results = {"rounds": args.rounds, "core_seconds": medians, "times_as_much": share}
        console.print(f"Saved {machine.save('importing', command, results)}")


if __name__ == "__main__":
    main()
