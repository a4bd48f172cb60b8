"""Training speed on a quiet machine and beside other work: this version and one before it, in turn, in one run.

    python benchmarks/busy_machine.py --before ../before           # ten minutes; another version's source tree
    python benchmarks/busy_machine.py --before ../before --rounds 1 --seconds 2     # to see that it works
    python benchmarks/busy_machine.py --vary GOMP_SPINCOUNT=0,100,1000,10000    # this version, each value in turn
    python benchmarks/busy_machine.py --vary OMP_NUM_THREADS=1,2 --conditions spinner,loop

Both versions run `rdrop train` as a user would (starter, Rotten Tomatoes, R-Drop), in a process of their own, with none
of OpenMP's variables set. They are started once, while the machine is quiet, and only one of them ever runs: the others
are stopped (SIGSTOP) meanwhile. In each round they are timed in turn on the quiet machine and beside

* spinner: a process that spins,
* loop: a PyTorch loop of two threads, as it comes,
* training: a training of the version before, if one is given.

With --fresh they are started anew for every figure, while the other work runs, so that they can notice it: slower.

Batches differ in length, and which ones a window of time meets differs too. So what is counted are real tokens, and
examples/s are those of texts of mean length.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
from rich.console import Console
from rich.table import Table

from rdrop_cli.config import load_config
from rdrop_cli.core.data.prepare import prepare_data

HERE = Path(__file__).resolve().parent.parent
COPIES = 8
"""Of each text, numbered, so that no epoch ends while the clock runs."""
LOG_STEPS = 2
CONDITIONS = ("quiet", "spinner", "loop", "training")
OPENMP = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")
SPINNER = "while True: pass"
LOOP = """
import torch
torch.set_num_threads(2)
rows = torch.randn(512, 512)
while True:
    torch.relu(rows @ rows)
"""
PATIENCE = 300.0
"""Seconds to wait for anything, at most."""


@dataclass
class Training:
    """A training of one version, which runs only while it is timed or is to be in the way."""

    name: str
    tree: Path
    variables: dict[str, str]
    data: Path
    options: list[str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    done: list[tuple[float, float]] = field(default_factory=list)

    @property
    def run(self) -> Path:
        return self.folder / f"run{self.starts}"

    def start(self) -> None:
        """Start it anew and wait until it has made its first steps; it is stopped then."""
        self.end()
        self.starts += 1
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OPENMP)}
        environment |= {"PYTHONPATH": str(self.tree), "HF_HUB_OFFLINE": "1", **self.variables}
        self.folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "rdrop_cli", "train", str(self.data), *self.options, "--out", str(self.run)]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        self._wait_for(3)
        self.pause()

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            shutil.rmtree(self.run, ignore_errors=True)

    def rows(self) -> list[tuple[float, float]]:
        """Examples and real tokens of each log entry so far."""
        with contextlib.suppress(FileNotFoundError), (self.run / "history.csv").open(encoding="utf-8") as stream:
            size = LOG_STEPS * int(self.options[self.options.index("--batch-size") + 1])
            logged = [row for row in csv.DictReader(stream) if row["examples_per_second"]]
            # The time cancels out, also the time that the process was stopped for.
            return [(size, size * float(r["tokens_per_second"]) / float(r["examples_per_second"])) for r in logged]
        return []

    def tokens_per_second(self, seconds: float) -> float:
        """Let it run for about so long, and for at least one whole log entry; time whole entries."""
        self.resume()
        first = len(self._wait_for(len(self.rows()) + 1))  # an entry that was begun before
        began = time.perf_counter()
        rows, ended = self._wait_for(first + 1), time.perf_counter()
        while time.perf_counter() - began < seconds:
            time.sleep(0.02)
            if len(found := self.rows()) > len(rows):
                rows, ended = found, time.perf_counter()
        self.pause()
        self.done += rows[first:]
        return sum(tokens for _, tokens in rows[first:]) / (ended - began)

    def _wait_for(self, count: int) -> list[tuple[float, float]]:
        assert self.process is not None
        limit = time.perf_counter() + PATIENCE
        while len(rows := self.rows()) < count:
            if self.process.poll() is not None or time.perf_counter() > limit:
                raise SystemExit(f"{self.name}: {(self.folder / 'log').read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.02)
        return rows


@contextlib.contextmanager
def beside(condition: str, other: Training | None) -> Iterator[None]:
    """Keep the machine busy while the block runs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OPENMP)}
    code = {"spinner": SPINNER, "loop": LOOP}.get(condition)
    if condition == "training" and other is not None:
        other.resume()
        try:
            yield
        finally:
            other.pause()
    elif code is not None:
        process = subprocess.Popen([sys.executable, "-c", code], env=environment)
        time.sleep(4 if "torch" in code else 0.2)  # until it is in its loop
        try:
            yield
        finally:
            process.kill()
            process.wait()
    else:
        yield


def write_data(folder: Path, copies: int) -> Path:
    """The sentences of Rotten Tomatoes, several times."""
    train = prepare_data(load_config("starter", [])).splits["train"]
    path = folder / "sentences.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "label"))
        for copy in range(copies):
            writer.writerows((f"{text} {copy}", label) for text, label in zip(train.texts, train.labels, strict=True))
    return path


def measure(
    trainings: list[Training], other: Training | None, args: argparse.Namespace, console: Console
) -> dict[str, dict[str, list[float]]]:
    """Real tokens a second by condition and training, a figure a round."""
    conditions = [name for name in args.conditions.split(",") if name != "training" or other is not None]
    rates = {condition: {training.name: list[float]() for training in trainings} for condition in conditions}
    for index in range(args.rounds):
        for condition in conditions:
            for training in trainings if index % 2 == 0 else trainings[::-1]:
                with beside(condition, other):
                    if args.fresh:
                        training.start()
                    rate = training.tokens_per_second(args.seconds)
                rates[condition][training.name].append(rate)
                console.print(f"round {index + 1}, {condition}: {training.name} {rate:,.0f} tokens/s", highlight=False)
    return rates


def summarize(rates: dict[str, dict[str, list[float]]], tokens: float, first: str) -> dict[str, Any]:
    """Examples/s by condition and training; ratios to the training named `first`, those of the rounds as min and max.

    Args:
        tokens: Mean real tokens of an example.
    """
    summary: dict[str, Any] = {}
    for condition, by_name in rates.items():
        base, summary[condition] = by_name[first], {}
        for name, values in by_name.items():
            paired = [value / other for value, other in zip(values, base, strict=True)]
            summary[condition][name] = {
                "examples_per_second": statistics.median(values) / tokens,
                "by_round": [value / tokens for value in values],
                "ratio": statistics.median(values) / statistics.median(base),
                "ratio_min": min(paired),
                "ratio_max": max(paired),
            }
    return summary


def show(console: Console, summary: dict[str, Any], first: str) -> None:
    table = Table(title=f"Examples/s, medians of the rounds; times: against {first}", title_justify="left")
    for heading in ("beside", "version", "examples/s", "times", "in the rounds"):
        table.add_column(heading, justify="left" if heading in ("beside", "version") else "right")
    for condition, by_name in summary.items():
        for name, row in by_name.items():
            is_first = name == first
            table.add_row(
                condition,
                name,
                f"{row['examples_per_second']:.1f}",
                "" if is_first else f"{row['ratio']:.2f}x",
                "" if is_first else f"{row['ratio_min']:.2f} to {row['ratio_max']:.2f}",
            )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="The source tree of the version to compare with.")
    parser.add_argument("--vary", metavar="NAME=VALUE,...", help="Compare values of an environment variable instead.")
    parser.add_argument("--conditions", default=",".join(CONDITIONS), help="Some of %(default)s.")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=12.0, help="Of each figure.")
    parser.add_argument("--copies", type=int, default=COPIES, help="How often the data is repeated.")
    parser.add_argument("--fresh", action="store_true", help="Start a training anew for each figure.")
    parser.add_argument("--model", default="starter", help="Another model's folder, to see that it works.")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--save", action="store_true", help="Keep the results in benchmarks/results/.")
    args = parser.parse_args()
    if args.before is None and args.vary is None:
        parser.error("give --before or --vary")
    if not set(args.conditions.split(",")) <= set(CONDITIONS):
        parser.error(f"the conditions are {', '.join(CONDITIONS)}")
    if args.before is not None and not (args.before / "rdrop_cli" / "__main__.py").is_file():
        parser.error(f"{args.before} is no source tree of rdrop")
    console = Console()
    console.width = max(console.width, 110)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as running:
        folder = Path(name)
        data = write_data(folder, args.copies)
        options = ["--model", args.model, "--max-length", str(args.max_length), "--epochs", "20"]
        options += ["--batch-size", str(args.batch_size)]
        for key, value in {"data.validation": 0.01, "data.test": 0, "train.log_steps": LOG_STEPS}.items():
            options += ["--set", f"{key}={value}"]
        options += ["--set", "train.tensorboard=false", "--set", "train.early_stopping.patience=0"]

        def training(name: str, tree: Path, variables: dict[str, str], where: str) -> Training:
            made = Training(name, tree.resolve(), variables, data, options, folder / where)
            running.callback(made.end)
            console.print(f"Starting {name}", highlight=False)
            made.start()
            return made

        if args.vary:
            variable, _, values = args.vary.partition("=")
            trainings = [
                training(f"{variable} {value}", HERE, {variable: value}, f"varied{index}")
                for index, value in enumerate(values.split(","))
            ]
        else:
            trainings = [training("before", args.before, {}, "before"), training("now", HERE, {}, "now")]
        other = training("in the way", args.before, {}, "other") if args.before is not None else None
        rates = measure(trainings, other, args, console)
        done = [row for each in trainings for row in each.done]
    tokens = sum(tokens for _, tokens in done) / sum(examples for examples, _ in done)
    first = trainings[0].name
    summary = summarize(rates, tokens, first)
    show(console, summary, first)
    console.print(f"{machine.describe()['processor']}; texts of {tokens:.0f} tokens, batch {args.batch_size}")
    if args.save:
        command = " ".join(["python benchmarks/busy_machine.py", *sys.argv[1:]])
        where = f"busy-machine-{args.vary.partition('=')[0].lower()}" if args.vary else "busy-machine"
        saved = machine.save(where, command, {"tokens_per_example": tokens, "conditions": summary})
        console.print(f"Saved {saved}", highlight=False)


if __name__ == "__main__":
    main()
