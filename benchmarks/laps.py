"""Small trainings in processes of their own, whose file operations are watched, and what their run folders hold.

Shared by crash_test.py and power_cuts.py. Each training is forked from one process that has imported everything, so
that little of a lap is start-up. Needs Linux or macOS.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import importlib
import io
import json
import multiprocessing
import os
import random
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import rdrop_cli.core.training.run  # noqa: F401 - imported before the forks
from rdrop_cli.app import app
from rdrop_cli.core.data.readers import read_rows
from rdrop_cli.core.runs.layout import COST
from rdrop_cli.core.storage import integrity, starter
from rdrop_cli.core.storage.numbered import numbered_checkpoints, step_of

# The number of threads decides the last bits, and on a busy machine a training chooses it: here all have the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SENTENCES = 300
SETTINGS = [
    "--batch-size", "16", "--max-length", "32", "--lr", "3e-3",
    "--set", "train.log_steps=4", "--set", "train.early_stopping.patience=0", "--set", "train.metric=roc_auc",
    "--set", "data.validation=0.2", "--seed", "43", "--no-export",
]  # fmt: skip
TIMES = {"examples_per_second", "tokens_per_second"}
OPERATIONS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link"}
FULL_FLUSH = getattr(fcntl, "F_FULLFSYNC", None)
"""What macOS flushes a file with."""


class Watcher:
    """Watches a lap from within its process; this one looks away.

    Attributes:
        answer: What it saw, handed back to the process that started the lap.
    """

    answer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The command has ended."""

    def before_operation(self) -> None:
        """An operation of the file system is about to happen."""

    def flushed(self, descriptor: int) -> None:
        """What is open here has been flushed to the disk."""


class Operations:
    """Counts this process's operations of the file system below a folder, and does something at the n-th."""

    def __init__(self, below: Path, at: int | None, act: Callable[[], None], watcher: Watcher) -> None:
        self.below, self.at, self.act, self.watcher = str(below), at, act, watcher
        self.count = 0
        self._acting = False
        sync = os.fsync

        def flush(descriptor: int) -> None:
            self.happened()
            sync(descriptor)
            self._flushed(descriptor)

        os.fsync = flush
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and str(path).startswith(self.below):
                self.happened()
        elif event in OPERATIONS and str(arguments[0]).startswith(self.below):
            self.happened()
        elif event == "fcntl.fcntl" and FULL_FLUSH is not None and arguments[1] == FULL_FLUSH:
            self.happened()
            self._flushed(arguments[0])

    def happened(self) -> None:
        if self._acting:
            return
        self.count += 1
        with self._apart():
            self.watcher.before_operation()
            if self.count == self.at:
                self.act()

    def _flushed(self, descriptor: int) -> None:
        if not self._acting:
            with self._apart():
                self.watcher.flushed(descriptor)

    @contextlib.contextmanager
    def _apart(self) -> Iterator[None]:
        """What happens in the block is not the training's own doing."""
        self._acting = True
        try:
            yield
        finally:
            self._acting = False


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class JobResult:
    """How a lap ended: exit code (negative: the signal), what it wrote to stderr, operations counted, seconds.

    Attributes:
        answer: The watcher's.
    """

    code: int
    stderr: str
    operations: int
    seconds: float
    modules: list[str] = field(default_factory=list)
    answer: Any = None


def lap(
    arguments: list[str],
    below: Path,
    *,
    at: int | None = None,
    act: Callable[[], None] = kill,
    after: float | None = None,
    watcher: Watcher | None = None,
) -> JobResult:
    """Run a command in a process of its own, which acts at an operation or is killed after some seconds."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        out, err = io.StringIO(), io.StringIO()
        sys.stdout, sys.stderr = out, err
        watching = watcher or Watcher()
        operations = Operations(below, at, act, watching)
        with watching:
            try:
                app(arguments, prog_name="rdrop")
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
        sender.send((code, err.getvalue(), operations.count, sorted(sys.modules), watching.answer))
        os._exit(code)

    process = context.Process(target=work)
    began = time.perf_counter()
    process.start()
    sender.close()
    answered = receiver.poll(after)  # also when it was killed
    if not answered:
        os.kill(process.pid or 0, signal.SIGKILL)
    try:
        code, stderr, count, modules, answer = receiver.recv()
    except EOFError:
        code, stderr, count, modules, answer = None, "", 0, [], None
    process.join()
    seconds = time.perf_counter() - began
    return JobResult(process.exitcode or 0 if code is None else code, stderr, count, seconds, modules, answer)


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
        if path.is_dir() or name.startswith("tensorboard") or path.name in ("trainer_state.json", integrity.MANIFEST):
            continue
        if path.name in ("loss_meter.json",):
            found[name] = ""
        elif path.name == "history.csv":
            with path.open(encoding="utf-8") as stream:
                rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream)]
            found[name] = repr(rows)
        elif path.name == COST:
            try:
                cost = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                cost = {}
            found[name] = repr((cost.get("steps"), cost.get("best_epoch")))
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
            return ["train", "--resume", "--out", str(run), "--no-export"]
        return [*self.command, "--out", str(run)]

    def problem(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        self.problems.append(f"{kind}: {text}")

    def go_on(self, run: Path, what: str, told: str = "", **options: Any) -> JobResult:
        """Another lap, by the command that was told if one was; it must not begin before the newest checkpoint."""
        command = told.partition("resume with: rdrop ")[2]
        newest = next(iter(numbered_checkpoints(run / "checkpoints")), None)
        if newest is not None and (fault := integrity.damage(newest)):
            self.problem("lost", f"{what}: {newest.name}: {fault}")
        is_resumed = (run / "config.yaml").is_file()
        arguments = [*shlex.split(command), "--no-export"] if command else self.arguments(run)
        ended = lap(arguments, run, **options)
        self.counts["resumed"] += is_resumed
        if newest is not None and "is skipped" in ended.stderr:
            self.problem("lost", f"{what}: {step_of(newest)} steps: {ended.stderr}")
        return ended

    def compare(self, run: Path, what: str) -> None:
        self.counts["finished"] += 1
        found = content(run)
        different = sorted(name for name in {*found, *self.expected} if found.get(name) != self.expected.get(name))
        if different:
            self.problem("different", f"{what}: {', '.join(different)}")
