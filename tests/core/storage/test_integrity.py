"""Damage to a sealed folder is found, whatever it is."""

import json

import pytest

from rdrop_cli.core.storage.integrity import MANIFEST, damage, is_sealed, seal


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "f" / "below").mkdir(parents=True)
    (tmp_path / "f" / "weights").write_bytes(b"12345")
    (tmp_path / "f" / "below" / "more").write_bytes(b"67")
    (tmp_path / "f" / "notes").write_bytes(b"")
    seal(tmp_path / "f", leave_out=["notes"])
    return tmp_path / "f"


def test_a_whole_folder_has_no_damage(folder):
    assert is_sealed(folder)
    assert damage(folder) is None
    assert set(json.loads((folder / MANIFEST).read_text())["files"]) == {"weights", "below/more"}


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("weights", b"1234", "weights has 4 bytes instead of 5"),
        ("weights", b"12346", "weights has changed since it was written (its SHA-256 differs)"),
        ("weights", None, "weights is missing"),
        ("below/more", b"68", "below/more has changed since it was written (its SHA-256 differs)"),
        (MANIFEST, b"{", "manifest.json is damaged"),
        (MANIFEST, b'{"files": {"weights": 5}}', "manifest.json is damaged"),
        (MANIFEST, b"[]", "manifest.json is damaged"),
        (MANIFEST, None, "manifest.json is missing"),
        ("notes", b"written later", None),
        ("added", b"later", None),
    ],
)
def test_each_fault_is_named(folder, name, content, fault):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert damage(folder) == fault
