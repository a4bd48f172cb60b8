"""Stops trainings in every rude way, resumes each, and compares the end with a training left in peace.

    python benchmarks/crash_test.py --kills 100 --faults 1 --power-cuts 200 --trained 20

A small encoder trains on 300 built-in sentences through the command line, with a checkpoint each epoch. Of it:

* kills: SIGKILL, half of them at a random moment, half at a random operation of the file system (a file opened to
  write, flushed, renamed, removed, a folder made), until there were so many. After each the training is resumed; when
  it comes to its end another one begins.
* faults: for every n-th of those operations (`--faults 8`: every eighth) two trainings of their own. In one that
  operation fails with "no space left on device"; in the other the disk is full from there on (no file can grow, whoever
  writes it). Each must end with one line and exit code 1, or do no harm, and is then resumed on a sound disk.
* power cuts: what was never flushed is gone. See power_cuts.py.

Counted are trainings that are lost (cannot be resumed, or begin before their newest checkpoint), different at the end
(any bit of weights, optimizer, metrics or history, columns of time aside; any file too many or too few), and, of the
faults, answers that are not one line. Exit code 1 if there is any.

Needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import resource
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from laps import Trial, lap
from power_cuts import power_cuts
from rich.console import Console
from rich.progress import Progress
from rich.table import Table


def fail() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fill_disk() -> None:
    """From now on a write beyond the first bytes of any file fails, in C++ and Rust too."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


def kills(trial: Trial, wanted: int, generator: random.Random, progress: Progress) -> None:
    """Kill trainings until there were so many, and resume each."""
    task = progress.add_task("Kills", total=wanted)
    number = 0
    while trial.counts["killed"] < wanted:
        number += 1
        run = trial.folder / f"killed-{number}"
        what, ended = "", None
        while ended is None or ended.code:
            if trial.counts["killed"] >= wanted:
                options: dict[str, Any] = {}
            elif generator.random() < 0.5:
                options = {"after": generator.uniform(0, 1.2 * trial.whole.seconds)}
            else:
                options = {"at": generator.randint(1, trial.whole.operations)}
            what = f"training {number}, {options}"
            ended = trial.go_on(run, what, **options)
            if ended.code == -signal.SIGKILL:
                trial.counts["killed"] += 1
                trial.counts["at an operation" if "at" in options else "at a moment"] += 1
                progress.update(task, completed=trial.counts["killed"])
                if (run / "metrics.json").is_file():  # it was done
                    ended = None
                    break
            elif ended.code:
                trial.problem("lost", f"{what}: exit {ended.code}: {ended.stderr}")
                break
        if ended is None or not ended.code:
            trial.compare(run, what)


def faults(trial: Trial, every: int, progress: Progress) -> None:
    """Let every n-th operation fail, then resume on a sound disk."""
    places = range(1, trial.whole.operations + 1, every)
    task = progress.add_task("Faults", total=2 * len(places))
    for act in (fail, fill_disk):
        for at in places:
            run = trial.folder / f"{act.__name__}-{at}"
            what = f"{act.__name__} at operation {at}"
            ended = lap([*trial.command, "--out", str(run)], run, at=at, act=act)
            trial.counts["faults"] += 1
            lines = [line for line in ended.stderr.splitlines() if line.strip()]
            if ended.code == 1:
                trial.counts["told"] += 1
                if len(lines) != 1 or "internal error" in lines[0]:
                    trial.problem("not one line", f"{what}: {ended.stderr}")
            elif ended.code:
                trial.problem("not one line", f"{what}: exit {ended.code}: {ended.stderr}")
            else:
                trial.counts["did no harm"] += 1
            if not (run / "metrics.json").is_file():
                ended = trial.go_on(run, what, ended.stderr)
                if ended.code:
                    trial.problem("lost", f"{what}: exit {ended.code}: {ended.stderr}")
                    continue
            trial.compare(run, what)
            progress.advance(task)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--kills", type=int, default=0, help="how often to kill")
    parser.add_argument("--faults", type=int, default=0, help="let every N-th operation fail; 0: none")
    parser.add_argument("--power-cuts", type=int, default=0, help="how many disks to open that a power cut could leave")
    parser.add_argument("--trained", type=int, default=20, help="how many of those to train to the end")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and operations")
    options = parser.parse_args()
    if not (options.kills or options.faults or options.power_cuts):
        parser.error("nothing to do: give --kills, --faults or --power-cuts")
    console = Console(width=100)
    with tempfile.TemporaryDirectory() as folder, Progress(console=console, transient=True) as progress:
        counts, problems = Counter[str](), []
        for kind, epochs in (("kills", 4), ("faults", 2), ("power_cuts", 4)):
            if not getattr(options, kind):
                continue
            generator = random.Random(options.seed)
            trial = Trial(Path(folder).resolve() / kind, epochs)
            whole = f"{trial.whole.seconds:.1f} s, {trial.whole.operations} operations of the file system"
            console.print(
                f"{kind.capitalize().replace('_', ' ')}: left in peace, a training of {epochs} epochs takes {whole}"
            )
            if kind == "kills":
                kills(trial, options.kills, generator, progress)
            elif kind == "faults":
                faults(trial, options.faults, progress)
            else:
                power_cuts(trial, options.power_cuts, options.trained, generator, progress)
            counts += trial.counts
            problems += trial.problems
    table = Table("what", "count")
    for name in (
        "killed", "at a moment", "at an operation", "faults", "told", "did no harm", "power cuts played",
        "power cuts opened", "trained to the end", "resumed", "finished", "lost", "different", "not one line",
    ):  # fmt: skip
        table.add_row(name, f"{counts[name]:,}")
    console.print(table)
    for problem in problems:
        console.print(problem, markup=False, soft_wrap=True)
    if problems:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
