"""Kills trainings and breaks their disk, goes on each time, and compares the end with a training left in peace.

    python benchmarks/crash_test.py --kills 100 --faults 1

A small encoder trains on 300 built-in sentences through the command line, with a checkpoint each epoch. Of it:

* kills: SIGKILL, half of them at a random moment, half at a random operation of the file system (a file opened to
  write, flushed, renamed, removed, a folder made), until there were so many. After each the training is resumed; when
  it comes to its end another one begins.
* faults: for every n-th of those operations (`--faults 8`: every eighth) two trainings of their own. In one that
  operation fails with "no space left on device"; in the other the disk is full from there on (no file can grow, whoever
  writes it). Each must end with one line and exit code 1, and is then resumed on a sound disk.

Counted are trainings that are lost (cannot go on, or begin before their newest checkpoint), different at the end (any
bit of weights, optimizer, metrics or history, columns of time aside; any file too many or too few), and, of the faults,
answers that are not one line. Exit code 1 if there is any.

Each training runs in a process of its own, forked from one that has imported everything, so that little of a
lap is start-up. Needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import errno
import hashlib
import importlib
import io
import json
import multiprocessing
import os
import random
import resource
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from rdrop_cli.app import app
from rdrop_cli.core import manifest, starter, training  # noqa: F401 - training: imported before the forks
from rdrop_cli.core.checkpoints import COST, numbered, step_of
from rdrop_cli.core.readers import read_rows

SENTENCES = 300
SETTINGS = [
    "--batch-size", "16", "--max-length", "32", "--lr", "3e-3",
    "--set", "train.log_steps=4", "--set", "train.early_stopping.patience=0", "--set", "train.metric=roc_auc",
    "--seed", "43",
]  # fmt: skip
TIMES = {"examples_per_second", "tokens_per_second"}
OPERATIONS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link"}


class Operations:
    """Counts this process's operations of the file system below a folder, and does something at the n-th."""

    def __init__(self, below: Path, at: int | None, act: Callable[[], None]) -> None:
        self.below, self.at, self.act = str(below), at, act
        self.count = 0
        self._acting = False
        sync = os.fsync

        def flushed(descriptor: int) -> None:
            self.happened()
            sync(descriptor)

        os.fsync = flushed
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and str(path).startswith(self.below):
                self.happened()
        elif event in OPERATIONS and str(arguments[0]).startswith(self.below):
            self.happened()

    def happened(self) -> None:
        if self._acting:
            return
        self.count += 1
        if self.count == self.at:
            self._acting = True
            try:
                self.act()
            finally:
                self._acting = False


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fill_disk() -> None:
    """From now on a write beyond the first bytes of any file fails, in C++ and Rust too."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


@dataclass(frozen=True)
class Ended:
    """How a lap ended: exit code (negative: the signal), what it wrote to stderr, operations counted, seconds."""

    code: int
    stderr: str
    operations: int
    seconds: float
    modules: list[str] = field(default_factory=list)


def lap(
    arguments: list[str],
    below: Path,
    *,
    at: int | None = None,
    act: Callable[[], None] = kill,
    after: float | None = None,
) -> Ended:
    """Run a command in a process of its own, which acts at an operation or is killed after some seconds."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        out, err = io.StringIO(), io.StringIO()
        sys.stdout, sys.stderr = out, err
        operations = Operations(below, at, act)
        try:
            app(arguments, prog_name="rdrop")
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        sender.send((code, err.getvalue(), operations.count, sorted(sys.modules)))
        os._exit(code)

    process = context.Process(target=work)
    began = time.perf_counter()
    process.start()
    sender.close()
    answered = receiver.poll(after)  # also when it was killed
    if not answered:
        os.kill(process.pid or 0, signal.SIGKILL)
    try:
        code, stderr, count, modules = receiver.recv()
    except EOFError:
        code, stderr, count, modules = None, "", 0, []
    process.join()
    seconds = time.perf_counter() - began
    return Ended(process.exitcode or 0 if code is None else code, stderr, count, seconds, modules)


def make_model(folder: Path) -> None:
    """A small random encoder with the starter's tokenizer; in a process of its own, as threads do not survive forks."""

    def work() -> None:
        from transformers import AutoTokenizer, BertConfig, BertModel
        from transformers.utils import logging

        logging.disable_progress_bar()
        shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
        BertModel(BertConfig(vocab_size=30522, **shape)).save_pretrained(folder)
        AutoTokenizer.from_pretrained(starter.model_folder()).save_pretrained(folder)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("the small model could not be made")


def make_data(path: Path) -> None:
    rows = [row.values for row in read_rows(starter.reviews_file()) if row.values["source"] == "rotten_tomatoes"]
    chosen = random.Random(0).sample(rows, SENTENCES)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["text", "label"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(chosen)


def content(run: Path) -> dict[str, str]:
    """What a finished run says, file by file; times and TensorBoard's events (named after the time) left out."""
    found = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.is_dir() or name.startswith("tensorboard") or path.name in ("trainer_state.json", manifest.MANIFEST):
            continue
        if path.name in ("loss_meter.json",):
            found[name] = ""
        elif path.name == "history.csv":
            with path.open(encoding="utf-8") as stream:
                rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream)]
            found[name] = repr(rows)
        elif path.name == COST:
            cost = json.loads(path.read_text(encoding="utf-8"))
            found[name] = repr((cost["steps"], cost["best_epoch"]))
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


class Trial:
    """Trainings of one kind, each compared at its end with the one that was left in peace."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        model, data = folder.parent / "model", folder.parent / "reviews.csv"
        self.command = ["train", str(data), "--model", str(model), "--epochs", str(epochs), *SETTINGS]
        if not model.exists():
            make_model(model)
            make_data(data)
        folder.mkdir()
        os.chdir(folder)
        for _ in range(2):  # the first also prepares the data, and shows what else there is to import
            self.whole = lap([*self.command, "--out", str(folder / "whole"), "--overwrite"], folder / "whole")
            if self.whole.code:
                raise SystemExit(self.whole.stderr)
            for name in self.whole.modules:
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
        self.expected = content(folder / "whole")

    def arguments(self, run: Path) -> list[str]:
        """The command that a user would type now."""
        if (run / "config.yaml").is_file():
            return ["train", "--resume", "--out", str(run)]
        return [*self.command, "--out", str(run)]

    def problem(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        self.problems.append(f"{kind}: {text}")

    def go_on(self, run: Path, what: str, told: str = "", **options: Any) -> Ended:
        """Another lap, by the command that was told if one was; it must not begin before the newest checkpoint."""
        command = told.partition("go on with: rdrop ")[2]
        newest = next(iter(numbered(run / "checkpoints")), None)
        if newest is not None and (fault := manifest.damage(newest)):
            self.problem("lost", f"{what}: {newest.name}: {fault}")
        is_resumed = (run / "config.yaml").is_file()
        ended = lap(shlex.split(command) or self.arguments(run), run, **options)
        self.counts["resumed"] += is_resumed
        if newest is not None and "passed over" in ended.stderr:
            self.problem("lost", f"{what}: {step_of(newest)} steps: {ended.stderr}")
        return ended

    def compare(self, run: Path, what: str) -> None:
        self.counts["finished"] += 1
        found = content(run)
        different = sorted(name for name in {*found, *self.expected} if found.get(name) != self.expected.get(name))
        if different:
            self.problem("different", f"{what}: {', '.join(different)}")

    def kills(self, wanted: int, generator: random.Random, progress: Progress) -> None:
        task = progress.add_task("Kills", total=wanted)
        number = 0
        while self.counts["killed"] < wanted:
            number += 1
            run = self.folder / f"killed-{number}"
            what, ended = "", None
            while ended is None or ended.code:
                if self.counts["killed"] >= wanted:
                    options: dict[str, Any] = {}
                elif generator.random() < 0.5:
                    options = {"after": generator.uniform(0, 1.2 * self.whole.seconds)}
                else:
                    options = {"at": generator.randint(1, self.whole.operations)}
                what = f"training {number}, {options}"
                ended = self.go_on(run, what, **options)
                if ended.code == -signal.SIGKILL:
                    self.counts["killed"] += 1
                    self.counts["at an operation" if "at" in options else "at a moment"] += 1
                    progress.update(task, completed=self.counts["killed"])
                    if (run / "metrics.json").is_file():  # it was done
                        ended = None
                        break
                elif ended.code:
                    self.problem("lost", f"{what}: exit {ended.code}: {ended.stderr}")
                    break
            if ended is None or not ended.code:
                self.compare(run, what)

    def faults(self, every: int, progress: Progress) -> None:
        places = range(1, self.whole.operations + 1, every)
        task = progress.add_task("Faults", total=2 * len(places))
        for act in (fail, fill_disk):
            for at in places:
                run = self.folder / f"{act.__name__}-{at}"
                what = f"{act.__name__} at operation {at}"
                ended = lap([*self.command, "--out", str(run)], run, at=at, act=act)
                self.counts["faults"] += 1
                lines = [line for line in ended.stderr.splitlines() if line.strip()]
                if ended.code == 1:
                    self.counts["told"] += 1
                    if len(lines) != 1 or "internal error" in lines[0]:
                        self.problem("not one line", f"{what}: {ended.stderr}")
                elif ended.code:
                    self.problem("not one line", f"{what}: exit {ended.code}: {ended.stderr}")
                else:
                    self.counts["did no harm"] += 1
                if not (run / "metrics.json").is_file():
                    ended = self.go_on(run, what, ended.stderr)
                    if ended.code:
                        self.problem("lost", f"{what}: exit {ended.code}: {ended.stderr}")
                        continue
                self.compare(run, what)
                progress.advance(task)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="how often to kill")
    parser.add_argument("--faults", type=int, default=0, help="let every N-th operation fail; 0: none")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and operations")
    options = parser.parse_args()
    console = Console(width=100)
    with tempfile.TemporaryDirectory() as folder, Progress(console=console, transient=True) as progress:
        counts, problems = Counter[str](), []
        for kind, epochs in (("kills", 4), ("faults", 2)):
            if not getattr(options, kind):
                continue
            trial = Trial(Path(folder).resolve() / kind, epochs)
            whole = f"{trial.whole.seconds:.1f} s, {trial.whole.operations} operations of the file system"
            console.print(f"{kind.capitalize()}: left in peace, a training of {epochs} epochs takes {whole}")
            if kind == "kills":
                trial.kills(options.kills, random.Random(options.seed), progress)
            else:
                trial.faults(options.faults, progress)
            counts += trial.counts
            problems += trial.problems
    table = Table("what", "count")
    for name in (
        "killed", "at a moment", "at an operation", "faults", "told", "did no harm", "resumed", "finished",
        "lost", "different", "not one line",
    ):  # fmt: skip
        table.add_row(name, f"{counts[name]:,}")
    console.print(table)
    for problem in problems:
        console.print(problem, markup=False, soft_wrap=True)
    if problems:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
