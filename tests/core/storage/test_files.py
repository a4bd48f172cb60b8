"""A reader sees the old file or the new one."""

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rdrop_cli.core.storage import files
from rdrop_cli.core.storage.files import _host, sweep, write_text, writing, writing_folder
from rdrop_cli.errors import StorageError


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), writing(path) as staging:
        staging.write_text("half")
        raise RuntimeError
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_folder_is_replaced_whole(tmp_path):
    for content in ("one", "two"):
        with writing_folder(tmp_path / "f") as staging:
            (staging / f"{content}.txt").write_text(content)
    assert [path.name for path in tmp_path.rglob("*.txt")] == ["two.txt"]
    with pytest.raises(RuntimeError), writing_folder(tmp_path / "f") as staging:
        (staging / "three.txt").write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["f", "two.txt"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_text(tmp_path / "file" / "below.txt", "")


def dead_process():
    """The number of a process that has ended."""
    return subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    ).stdout


def test_the_next_writer_clears_away_what_a_killed_one_left_here(tmp_path):
    number = int(dead_process())
    at_work = f".a.txt.{_host()}-{os.getppid()}.partial"
    theirs = [at_work, f".a.txt.elsewhere-{number}.partial", f".b.txt.{_host()}-{number}.partial"]
    for name in (f".a.txt.{_host()}-{number}.partial", *theirs):
        (tmp_path / name).write_text("half")
    write_text(tmp_path / "a.txt", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", *theirs}


@pytest.mark.skipif(sys.platform == "win32", reason="another system's way of asking")
def test_a_writer_of_another_user_is_at_work_also_where_it_is_hidden(tmp_path, monkeypatch):
    """As under a /proc that shows each user only their own."""

    def refuse(process, signal):
        raise PermissionError

    partial = tmp_path / f".a.txt.{_host()}-{int(dead_process())}.partial"
    partial.write_text("half")
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", refuse)
        write_text(tmp_path / "a.txt", "new")
    assert partial.exists()


def test_a_folder_is_listed_once_however_much_is_written_there_and_its_leftovers_are_all_known(tmp_path, monkeypatch):
    number = int(dead_process())
    for name in "ab":
        (tmp_path / f".{name}.txt.{_host()}-{number}.partial").write_text("half")
    listed = []
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: listed.append(self) or glob(self, pattern))
    for _ in range(3):
        for name in "ab":
            write_text(tmp_path / f"{name}.txt", "new")
    assert listed == [tmp_path]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_what_the_first_write_settled_is_left_alone_by_the_second(tmp_path):
    old = tmp_path / f".f.{_host()}-{int(dead_process())}.old"
    old.mkdir()
    with pytest.raises(RuntimeError), writing_folder(tmp_path / "f"):
        raise RuntimeError
    (tmp_path / "f").rmdir()
    with writing_folder(tmp_path / "f") as staging:
        (staging / "x").write_text("")
    assert [path.name for path in tmp_path.rglob("*")] == ["f", "x"]


def test_another_process_looks_for_itself(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "old")
    (tmp_path / f".a.txt.{_host()}-{int(dead_process())}.partial").write_text("half")
    monkeypatch.setattr(os, "getpid", lambda: 2**22 + 1)  # as after a fork
    write_text(tmp_path / "a.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_whose_replacement_was_killed_half_way_is_put_back(tmp_path):
    for where in ("swept", "written"):
        old = tmp_path / where / f".f.{_host()}-{int(dead_process())}.old"
        old.mkdir(parents=True)
        (old / "whole.txt").write_text("old")
    sweep(tmp_path / "swept")
    assert (tmp_path / "swept/f/whole.txt").read_text() == "old"
    with pytest.raises(RuntimeError), writing_folder(tmp_path / "written" / "f"):
        raise RuntimeError
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*.txt"))] == [
        "swept/f/whole.txt", "written/f/whole.txt",
    ]  # fmt: skip


def test_a_sweep_takes_what_writers_left_and_nothing_else(tmp_path):
    (tmp_path / ".run.some_host-1.partial").mkdir()
    (tmp_path / ".run.some_host-1.partial" / "half").write_text("")
    (tmp_path / ".x.some_host-2.old").write_text("replaced")
    for kept in ("x", ".lock", ".hidden.partial", "a.some_host-1.partial"):
        (tmp_path / kept).write_text("mine")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".hidden.partial",
        ".lock",
        "a.some_host-1.partial",
        "x",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which file is flushed")
def test_everything_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    """Files first, then their folder, then the rename, then the folder that has the new name."""
    events = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    rename = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append("rename"), rename(self, to))[1])
    with writing_folder(tmp_path / "f") as staging:
        (staging / "a").write_text("x")
    assert events == [staging / "a", staging, "rename", tmp_path]


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which file is flushed")
def test_a_new_folder_is_flushed_into_its_parents_and_an_old_one_outlives_its_replacement_on_disk(
    tmp_path, monkeypatch
):
    events = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    write_text(tmp_path / "runs" / "a" / "f" / "x", "1")
    assert events[:3] == [tmp_path, tmp_path / "runs", tmp_path / "runs" / "a"]

    remove = files.shutil.rmtree
    monkeypatch.setattr(files.shutil, "rmtree", lambda path: (events.append(f"removed {path.name}"), remove(path))[1])
    events.clear()
    with writing_folder(tmp_path / "runs" / "a" / "f") as staging:
        (staging / "y").write_text("2")
    removal = next(event for event in events if str(event).startswith("removed"))
    assert events[events.index(removal) - 1] == tmp_path / "runs" / "a"


class Drive:
    """What macOS's fcntl module does: F_FULLFSYNC flushes the drive, or is refused by the file system."""

    F_FULLFSYNC = 51

    def __init__(self, refusal=None):
        self.refusal, self.flushed = refusal, 0

    def fcntl(self, descriptor, command):
        assert command == self.F_FULLFSYNC
        if self.refusal is not None:
            raise OSError(self.refusal, os.strerror(self.refusal))
        self.flushed += 1


@pytest.mark.parametrize(("refusal", "by_drive", "by_system"), [(None, 2, 0), (errno.ENOTSUP, 0, 2)])
def test_on_macos_the_drive_itself_is_flushed_where_it_can_be(tmp_path, monkeypatch, refusal, by_drive, by_system):
    drive, synced = Drive(refusal), []
    monkeypatch.setattr(files, "fcntl", drive)
    monkeypatch.setattr(os, "fsync", synced.append)
    write_text(tmp_path / "a.txt", "x")
    assert (drive.flushed, len(synced)) == (by_drive, by_system), "the file and its folder"


def test_a_drive_that_fails_to_flush_is_no_success(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", Drive(errno.EIO))
    with pytest.raises(StorageError, match="cannot be written"):
        write_text(tmp_path / "a.txt", "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refusals", [2, 3])
def test_where_another_program_has_the_file_open_the_rename_is_tried_again(tmp_path, monkeypatch, refusals):
    write_text(tmp_path / "a.csv", "old")
    replace, refused = Path.replace, []

    def busy(self, target):
        if len(refused) < refusals:
            refused.append(self)
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        return replace(self, target)

    monkeypatch.setattr(files, "_PAUSES", (0, 0))
    monkeypatch.setattr(Path, "replace", busy)
    with pytest.raises(StorageError) if refusals > 2 else contextlib.nullcontext():
        write_text(tmp_path / "a.csv", "new")
    assert (tmp_path / "a.csv").read_text() == ("old" if refusals > 2 else "new")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_stays_and_what_it_leads_to_is_replaced_with_its_mode(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "target").chmod(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o600
