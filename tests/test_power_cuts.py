"""The disks that benchmarks/power_cuts.py makes are those that a power cut could leave."""

import os
import sys
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="opens folders")


@pytest.fixture
def recorder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    from power_cuts import Recorder

    (tmp_path / "disk").mkdir()
    (tmp_path / "contents").mkdir()
    (tmp_path / "disk" / "old").write_text("before")
    return Recorder(tmp_path / "disk", tmp_path / "contents", "test")


def flush(recorder, path):
    descriptor = os.open(path, os.O_RDONLY)
    recorder.flushed(descriptor)
    os.close(descriptor)


def disks(recorder, tmp_path, act):
    """What may be on the disk after `act`: the content by path of each."""
    with recorder:
        act(recorder, tmp_path / "disk")
    found = []
    for number, disk in enumerate(recorder.answer):
        base = tmp_path / f"restored-{number}"
        disk.restore(base, tmp_path / "contents")
        found.append({str(path.relative_to(base)): path.read_text() for path in base.rglob("*") if path.is_file()})
    return found


def replace(recorder, base, is_flushed=False):
    (base / "new").write_text("after")
    if is_flushed:
        flush(recorder, base / "new")
    (base / "new").replace(base / "old")


def test_what_is_not_flushed_may_be_missing_or_empty(recorder, tmp_path):
    def write(recorder, base):
        (base / "new").write_text("x")

    assert disks(recorder, tmp_path, write) == [{"old": "before"}, {"old": "before", "new": ""}]


def test_a_rename_without_a_flush_may_leave_an_empty_file_in_the_old_ones_place(recorder, tmp_path):
    assert disks(recorder, tmp_path, replace) == [{"old": "before"}, {"old": ""}]


def test_what_is_flushed_before_it_is_renamed_is_the_old_or_the_new(recorder, tmp_path):
    flushed = partial(replace, is_flushed=True)
    assert disks(recorder, tmp_path, flushed) == [{"old": "before"}, {"old": "after"}]


def test_what_is_flushed_with_its_name_stays_whatever_happens_then(recorder, tmp_path):
    def replace_and_write_on(recorder, base):
        replace(recorder, base, is_flushed=True)
        flush(recorder, base)
        with (base / "old").open("a") as stream:
            stream.write(" and more")

    assert disks(recorder, tmp_path, replace_and_write_on) == [{"old": "after"}]


def test_a_folder_is_lost_with_all_it_holds_until_its_name_is_flushed(recorder, tmp_path):
    def write(recorder, base):
        (base / "folder").mkdir()
        (base / "folder" / "new").write_text("x")
        flush(recorder, base / "folder" / "new")
        flush(recorder, base / "folder")

    assert disks(recorder, tmp_path, write) == [{"old": "before"}, {"old": "before", "folder/new": "x"}]


def test_a_removal_may_come_before_what_was_to_replace_it(recorder, tmp_path):
    def write(recorder, base):
        (base / "new").write_text("x")
        flush(recorder, base / "new")
        (base / "old").unlink()

    assert disks(recorder, tmp_path, write) == [{"old": "before"}, {"new": "x"}, {}]
