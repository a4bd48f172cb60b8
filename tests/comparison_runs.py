"""What tests of comparisons in several processes share: the comparison as one process makes it, and looking at both."""

import json
import shutil
from pathlib import Path

import psutil

from conftest import make_reviews, tiny_config, write_csv
from rdrop_cli.core.comparison.grid import make_grid
from rdrop_cli.core.comparison.observer import ComparisonObserver
from rdrop_cli.core.comparison.runner import compare
from rdrop_cli.core.training.observer import Observer

OF_A_CLOCK = {"seconds", "wall_seconds", "examples_per_second", "resumed_from_step"}


class Told(ComparisonObserver):
    """Notes what is told, and does something when a cell logs its first row."""

    def __init__(self, at_first_row=lambda: None):
        self.ended_cells, self.failures, self.notices, self.at_first_row = [], [], [], at_first_row
        self.steps, self.places, self.at_step = {}, {}, lambda cell: None
        self.training = Notices(self)

    def training_of(self, cell):
        return Notices(self, cell.name)

    def ended(self, result, seconds_left):
        self.ended_cells.append(f"{result.arm} seed {result.seed}")

    def failed(self, cell, why):
        self.failures.append(f"{cell.name}: {why}")


class Notices(Observer):
    def __init__(self, told, cell=""):
        self.told, self.cell = told, cell

    def notice(self, message):
        self.told.notices.append(f"{self.cell}: {message}")

    def place(self, machine):
        self.told.places[self.cell] = machine

    def step(self, step):
        self.told.steps[self.cell] = step
        self.told.at_step(self.cell)

    def stopping(self):
        self.told.notices.append("stopping")

    def log(self, row):
        act, self.told.at_first_row = self.told.at_first_row, lambda: None
        act()


class Comparisons:
    """A comparison of two arms with two seeds, each trained in a second: where it is, and the same elsewhere."""

    def __init__(self, folder: Path, model: Path):
        self.folder = folder
        self.data = write_csv(folder / "reviews.csv", make_reviews(200))
        self.model = model

    def settings(self, **more):
        settings = {"train.early_stopping.patience": 0, "train.label_smoothing": 0.0, **more}
        return tiny_config(self.data.name, self.model, **settings)

    def make(self, out, executor=None, told=None, *, names=("plain", "rdrop"), own=(), seeds=2, **more):
        """Compare in a folder, and return the results without what a clock measured."""
        grid = make_grid(self.settings(**more), names, own, seeds=seeds, folder=Path(out))
        return without_times(compare(grid, told, executor).document)

    def copy(self, out, *parts):
        """Take parts of the comparison `here`, as if they had been trained in another folder."""
        for part in parts:
            shutil.copytree(Path("here") / part, Path(out) / part)


def without_times(content):
    """A document without what a clock measured, and the comparison's own folder."""
    if isinstance(content, dict):
        return {key: without_times(value) for key, value in content.items() if key not in {*OF_A_CLOCK, "comparison"}}
    return [without_times(value) for value in content] if isinstance(content, list) else content


def runs_of(folder):
    """The content of everything in a comparison's runs that must not depend on where they were trained."""
    found = {}
    for path in sorted(Path(folder).glob("*/seed*/**/*")):
        if path.is_file() and path.name not in (".lock", "history.csv"):
            is_cost = path.name == "training.json"
            name = path.relative_to(folder).as_posix()
            found[name] = without_times(json.loads(path.read_text())) if is_cost else path.read_bytes()
    return found


def workers(of=None):
    """The processes that train for a comparison in a process, by default this one."""
    return [process for process in psutil.Process(of).children(recursive=True) if is_worker(process)]


def is_worker(process):
    try:
        return "rdrop_cli.core.executors.worker" in process.cmdline()
    except psutil.Error:
        return False
