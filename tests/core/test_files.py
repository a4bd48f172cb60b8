"""A reader sees the old file or the new one."""

import pytest

from rdrop_cli.core.files import write_text, writing, writing_folder
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
