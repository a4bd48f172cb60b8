"""Power cuts: opens what would be on the disk of a training at any instant, had the power failed there.

What counts is what was flushed: a file has the content of its last fsync, or is empty; a folder has the names of its
last fsync. What happened since may have reached the disk too, so three disks are made of every instant, before each
operation of the file system:

* nothing: none of it has. No rename, no new file, no removal that was not flushed in its folder.
* names: every rename, new file and removal has, but no content that was not flushed itself.
* removals: only what was removed is gone, and nothing that was to replace it is there.

The training's own word is the other side: after a checkpoint is saved it counts on it, and once it has ended, on
everything. A disk on which a training would begin before its newest saved checkpoint has lost something.

Half of the trainings begin on an empty disk, half on what a power cut in the one before had left.
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from laps import JobResult, Trial, Watcher, lap

from rdrop_cli.core.storage.numbered import numbered_checkpoints, step_of
from rdrop_cli.core.trainer.checkpointing import WholeCheckpoints
from rdrop_cli.core.training.run import TrainingRun

if TYPE_CHECKING:
    from rich.progress import Progress

    from rdrop_cli.core.training import run as training
    from rdrop_cli.core.training.set_up import TrainingSetup

RUN = Path("runs", "small")
"""Where a run stands on its disk: its folder and the one above are made by the training."""
Names = Mapping[str, int]
"""Of a folder: inodes by name."""


@dataclass(frozen=True)
class Disk:
    """What a power cut leaves.

    Attributes:
        tree: By path: None for a folder, the hash of its content for a file, "" for an empty one.
        saved: The newest step that the training counted on.
        has_ended: The training counted on being done.
        what: Where and how it came about.
    """

    tree: Mapping[str, str | None]
    saved: int
    has_ended: bool
    what: str

    @property
    def has_begun(self) -> bool:
        """There is a run that can be resumed."""
        return str(RUN / "config.yaml") in self.tree and str(RUN / "metrics.json") not in self.tree

    def restore(self, base: Path, contents: Path) -> None:
        """Make the folder that this disk is."""
        base.mkdir()
        for name, content in self.tree.items():
            if content is None:
                (base / name).mkdir()
            elif content:
                os.link(contents / content, base / name)  # no file is written to twice, so a link will do
            else:
                (base / name).touch()


class Recorder(Watcher):
    """Keeps track of what is durable below a folder, and collects the disks that a power cut could leave.

    Every file and folder that was flushed, or named in a folder that was, is kept open, so that its inode's number is
    not given to another.
    """

    def __init__(self, base: Path, contents: Path, title: str) -> None:
        self.base, self.contents, self.title = base, contents, title
        self._durable_names: dict[int, dict[str, int]] = {}
        self._durable_content: dict[int, str] = {}
        self._kept: dict[int, int] = {}
        self._folders: set[int] = set()
        self._disks: dict[frozenset[tuple[str, str | None]], Disk] = {}
        self._operations = 0
        self._saved = next((step_of(path) for path in numbered_checkpoints(base / RUN / "checkpoints")), 0)

    def __enter__(self) -> Self:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for folder, _, files in os.walk(self.base):
            for path in (folder, *(Path(folder, name) for name in files)):
                descriptor = os.open(path, os.O_RDONLY)
                self.flushed(descriptor)
                os.close(descriptor)
        self._root = self.base.stat().st_ino
        save = WholeCheckpoints._save_checkpoint

        def save_and_tell(trainer: WholeCheckpoints, *arguments: Any) -> None:
            save(trainer, *arguments)
            self._saved = trainer.state.global_step

        WholeCheckpoints._save_checkpoint = save_and_tell  # type: ignore[method-assign]
        self._restore = lambda: setattr(WholeCheckpoints, "_save_checkpoint", save)
        return self

    def __exit__(self, *_: object) -> None:
        self._record(has_ended=(self.base / RUN / "metrics.json").is_file())
        self.answer = list(self._disks.values())
        self._restore()
        for descriptor in self._kept.values():
            os.close(descriptor)

    def before_operation(self) -> None:
        self._record()
        self._operations += 1

    def flushed(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self._keep(status.st_ino, descriptor)
        if stat.S_ISDIR(status.st_mode):
            self._folders.add(status.st_ino)
            names = self._durable_names[status.st_ino] = {}
            for entry in os.scandir(descriptor):
                names[entry.name] = entry.inode()
                if entry.is_dir(follow_symlinks=False):
                    self._folders.add(entry.inode())
                if entry.inode() not in self._kept:
                    opened = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=descriptor)
                    self._keep(entry.inode(), opened)
                    os.close(opened)
        else:
            content = os.pread(descriptor, status.st_size, 0)
            name = hashlib.sha256(content).hexdigest() if content else ""
            if name and not (self.contents / name).exists():
                (self.contents / name).write_bytes(content)
            self._durable_content[status.st_ino] = name

    def _keep(self, inode: int, descriptor: int) -> None:
        if inode not in self._kept:
            self._kept[inode] = os.dup(descriptor)

    def _record(self, has_ended: bool = False) -> None:
        now: dict[int, dict[str, int]] = {}
        self._look(self.base, self._root, now)
        there = {inode for names in now.values() for inode in names.values()}

        def removed(folder: int) -> Names:
            names = self._durable_names.get(folder, {})
            return {
                name: inode for name, inode in names.items() if inode in there or name in now.get(folder, {})
            }  # what another took the place of goes in the moment when that one comes

        ways: dict[str, Callable[[int], Names]] = {
            "nothing": lambda folder: self._durable_names.get(folder, {}),
            "names": lambda folder: now.get(folder, {}),
            "removals": removed,
        }
        for way, names_of in ways.items():
            tree: dict[str, str | None] = {}
            self._build(self._root, "", names_of, self._folders | now.keys(), tree)
            what = f"{self.title}, power cut before operation {self._operations + 1}, on the disk since: {way}"
            self._disks[frozenset(tree.items())] = Disk(tree, self._saved, has_ended, what)

    def _look(self, path: Path | str, inode: int, found: dict[int, dict[str, int]]) -> None:
        """Collect the names in a folder, and in those below, as they are now."""
        names = found[inode] = {}
        for entry in os.scandir(path):
            names[entry.name] = entry.inode()
            if entry.is_dir(follow_symlinks=False):
                self._look(entry.path, entry.inode(), found)

    def _build(
        self,
        folder: int,
        prefix: str,
        names_of: Callable[[int], Names],
        folders: set[int],
        tree: dict[str, str | None],
    ) -> None:
        for name, inode in names_of(folder).items():
            if inode in folders:
                tree[prefix + name] = None
                self._build(inode, f"{prefix}{name}/", names_of, folders, tree)
            else:
                tree[prefix + name] = self._durable_content.get(inode, "")


class Opening(Watcher):
    """Sees at which step a training begins and what it passes over; it may stop it there."""

    def __init__(self, stop: bool) -> None:
        self.stop = stop

    def __enter__(self) -> Self:
        open_run = TrainingRun._open_run

        def open_and_tell(opened: TrainingRun, ready: TrainingSetup) -> training.Start:
            start = open_run(opened, ready)
            self.answer = (start.step, [f"{path.name}: {fault}" for path, fault in start.damaged.items()])
            if self.stop:
                raise SystemExit(0)
            return start

        TrainingRun._open_run = open_and_tell  # type: ignore[method-assign]
        return self


def power_cuts(trial: Trial, wanted: int, trained: int, generator: random.Random, progress: Progress) -> None:
    """Open so many disks, each another one, and train so many of them to the end."""
    contents = trial.folder / "contents"
    contents.mkdir()
    disks: list[Disk] = []
    done = 0
    while done < 2 or len(disks) < wanted:
        left = generator.choice([disk for disk in disks if disk.has_begun]) if done % 2 else None
        found = _record_training(trial, contents, left, done + 1)
        known = {frozenset(disk.tree.items()) for disk in disks}
        new = [disk for disk in found if frozenset(disk.tree.items()) not in known]
        disks += new
        done += 1
        trial.counts["power cuts played"] += len(new)
    ended = [disk for disk in disks if disk.has_ended]
    rest = [disk for disk in disks if not disk.has_ended]
    chosen = ended[:wanted] + generator.sample(rest, max(0, min(wanted - len(ended), len(rest))))
    begun = [disk for disk in chosen if disk.has_begun]
    to_train = {id(disk) for disk in generator.sample(begun, min(trained, len(begun)))}
    task = progress.add_task("Power cuts", total=len(chosen))
    for disk in chosen:
        base = trial.folder / "opened"
        disk.restore(base, contents)
        _check(trial, disk, base / RUN, id(disk) in to_train)
        shutil.rmtree(base)
        progress.advance(task)


def _record_training(trial: Trial, contents: Path, left: Disk | None, number: int) -> list[Disk]:
    """Train to the end on an empty disk, or on what is left, and collect what power cuts would leave."""
    base = trial.folder / "recorded"
    if left is None:
        base.mkdir()
    else:
        left.restore(base, contents)
    title = f"training {number}" + (f" (after {left.what})" if left else "")
    ended = lap(trial.arguments(base / RUN), base, watcher=Recorder(base, contents, title))
    if ended.code:
        trial.problem("lost", f"{title}: exit {ended.code}: {ended.stderr}")
    else:
        trial.compare(base / RUN, title)
    shutil.rmtree(base)
    return ended.answer or []


def _check(trial: Trial, disk: Disk, run: Path, to_the_end: bool) -> None:
    trial.counts["power cuts opened"] += 1
    if (run / "metrics.json").is_file():
        trial.compare(run, disk.what)
        return
    if disk.has_ended:
        trial.problem("lost", f"{disk.what}: it had ended, and now it has not")
    ended: JobResult = lap(trial.arguments(run), run, watcher=Opening(stop=not to_the_end))
    if ended.code or ended.answer is None:
        trial.problem("lost", f"{disk.what}: exit {ended.code}: {ended.stderr}")
        return
    trial.counts["resumed"] += disk.has_begun
    step, damaged = ended.answer
    if step < disk.saved or damaged:
        passed = f", passing over {'; '.join(damaged)}" if damaged else ""
        trial.problem("lost", f"{disk.what}: step {disk.saved} was saved, it begins after {step}{passed}")
    if to_the_end:
        trial.counts["trained to the end"] += 1
        trial.compare(run, disk.what)
