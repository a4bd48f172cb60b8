"""A folder as bytes."""

import io
import zipfile

import pytest

from conftest import write_csv
from rdrop_cli.core.executors.archive import pack, unpack
from rdrop_cli.errors import DataError


def archive(name):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        made.writestr("good.txt", "good")
        made.writestr(name, "bad")
    return content.getvalue()


def test_files_come_back_as_they_were(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "inner").mkdir(parents=True)
    files = [write_csv(source / "a.csv", [("x", 1)]), write_csv(source / "inner" / "b.csv", [("ü", 2)])]
    unpack(pack(source, files), target)
    assert {path.relative_to(target): path.read_bytes() for path in target.rglob("*.csv")} == {
        path.relative_to(source): path.read_bytes() for path in files
    }


@pytest.mark.parametrize(
    "name", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt", "C:\\out.txt", "C:out.txt"]
)
def test_a_name_that_leads_out_is_refused_and_nothing_is_written(tmp_path, name):
    with pytest.raises(DataError, match="received a file named"):
        unpack(archive(name), tmp_path / "target")
    assert not list(tmp_path.rglob("*.txt"))


@pytest.mark.parametrize("damage", [lambda content: content[:40], lambda content: content.replace(b"good", b"evil", 2)])
def test_what_was_damaged_on_the_way_is_refused(tmp_path, damage):
    with pytest.raises(DataError, match="damaged"):
        unpack(damage(archive("b.txt")), tmp_path / "target")
