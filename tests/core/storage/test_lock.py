"""One writer for each folder, and none that is dead."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from rdrop_cli.core.storage import lock
from rdrop_cli.core.storage.lock import has_writer, only_writer, refuse_if_in_use
from rdrop_cli.errors import CheckpointError

HOLD = """
import sys, time
from pathlib import Path
from rdrop_cli.core.storage.lock import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_writer_is_refused_at_once(holder, tmp_path):
    for ask in (lambda: only_writer(tmp_path).__enter__(), lambda: refuse_if_in_use(tmp_path)):
        with pytest.raises(CheckpointError, match="another process is writing to this folder"):
            ask()


def test_a_killed_writer_holds_nothing(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    refuse_if_in_use(tmp_path)
    with only_writer(tmp_path):
        pass


def test_a_folder_without_a_lock_stays_without_one(tmp_path):
    refuse_if_in_use(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_whether_somebody_writes_is_told_without_writing(holder, tmp_path):
    (tmp_path / "free").mkdir()
    with only_writer(tmp_path / "free"):
        pass
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert [has_writer(tmp_path), has_writer(tmp_path / "free"), has_writer(tmp_path / "gone")] == [True, False, False]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    holder.kill()
    holder.wait()
    assert not has_writer(tmp_path)


@pytest.mark.skipif(lock.fcntl is None, reason="looks with fcntl")
def test_a_glance_at_the_lock_refuses_no_writer(tmp_path, monkeypatch):
    (tmp_path / lock.LOCK).touch()
    looking = os.open(tmp_path / lock.LOCK, os.O_RDONLY)
    lock.fcntl.flock(looking, lock.fcntl.LOCK_SH)
    sleep = time.sleep

    def look_away(seconds):
        with contextlib.suppress(OSError):
            os.close(looking)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", look_away)  # the writer's pause before it tries again
    with only_writer(tmp_path):
        pass


@pytest.mark.parametrize("answer", [True, False])
def test_where_files_cannot_be_locked_for_reading_the_lock_itself_is_tried(answer, tmp_path, monkeypatch):
    """As on Windows."""
    monkeypatch.setattr(lock, "fcntl", None)
    (tmp_path / lock.LOCK).touch()
    with only_writer(tmp_path) if answer else contextlib.nullcontext():
        assert has_writer(tmp_path) is answer
