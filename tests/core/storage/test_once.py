"""What is said of a file is remembered for as long as the file stays as it is."""

import os
import time

import pytest

from rdrop_cli.core.storage.once import once_a_version


def written(path, text, age=60.0):
    path.write_text(text)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


@pytest.fixture
def read():
    """Reads files and keeps what it was asked for in `asked`."""
    asked = []

    def reading(path):
        asked.append(path.name)
        return path.read_text()

    remembering = once_a_version(reading)
    remembering.asked = asked
    return remembering


def test_a_file_that_stays_is_read_once(tmp_path, read):
    first, second = written(tmp_path / "a", "one"), written(tmp_path / "b", "two")
    assert [read(path) for path in (first, second, first, second)] == ["one", "two", "one", "two"]
    assert read.asked == ["a", "b"]


def test_a_file_that_changes_is_read_anew_whatever_its_time_says(tmp_path, read):
    path = written(tmp_path / "a", "one")
    assert read(path) == "one"
    other = written(tmp_path / "other", "two")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert read(path) == "two"


def test_a_file_that_was_just_written_is_not_trusted_to_show_its_next_change(tmp_path, read):
    path = written(tmp_path / "a", "one", age=0.0)
    assert (read(path), read(path)) == ("one", "one")
    assert read.asked == ["a", "a"]


def test_a_failure_is_not_remembered(tmp_path, read):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "a")
    assert read(written(tmp_path / "a", "one")) == "one"
