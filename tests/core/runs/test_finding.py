"""Which folders are runs, and which of them a name means."""

import os
from pathlib import Path

import pytest

from rdrop_cli.config import dump_config, load_config
from rdrop_cli.core.runs.finding import find_runs, is_run, named_run, run_names
from rdrop_cli.core.storage.integrity import with_checksum
from rdrop_cli.errors import CheckpointError


def make_run(name, **files):
    folder = Path(name)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(load_config()))
    (folder / ".lock").touch()
    return folder


def test_runs_in_folders_of_runs_are_found_too():
    for name in ("runs/mine", "runs/series/one", "comparisons/x/plain/seed42", "runs/.hidden"):
        make_run(name)
    Path("runs/notes").mkdir()
    assert run_names() == ["mine", "series/one"]
    assert run_names(Path("comparisons")) == ["x/plain/seed42"]
    assert run_names(Path("comparisons/x")) == ["plain/seed42"]
    assert run_names(Path("gone")) == []


def test_a_folder_of_runs_that_is_none_is_named():
    with pytest.raises(CheckpointError, match="gone: no such folder"):
        find_runs(Path("gone"))
    with pytest.raises(CheckpointError, match=r"runs/mine: is a run, .* rdrop runs show runs/mine"):
        find_runs(make_run("runs/mine"))


@pytest.mark.parametrize(
    "files",
    [
        {"config.yaml": "service: web\n", "checkpoints/x": ""},
        {"config.yaml": "", "checkpoints/x": "", ".lock": ""},
        {"config.yaml": dump_config(load_config()), "data.json": "[]", "src/main.py": ""},
        {"data.json": '{"mine": 1}', "metrics.json": "{}", "best/weights": ""},
        {"config.yaml": dump_config(load_config())},
        {"config.yaml": "{", ".lock": "", "poetry.toml": ""},
        {"config.yaml": "", "checkpoints/checkpoint-1/manifest.json": '{"name": "an app"}'},
    ],
    ids=["other configuration", "empty configuration", "a user's own configuration", "other records",
         "a shown configuration", "another lock", "another manifest"],
)  # fmt: skip
def test_what_others_write_is_no_run(files):
    for name, content in files.items():
        path = Path("project", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert not is_run(Path("project"))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("data.json", with_checksum({"rdrop": "0.1.0"})),
        ("data.json", '{"fingerprint": "0", "splits": {}, "labels": []}'),
        ("best/rdrop.json", '{"rdrop": "0.1.0"}'),
        ("best/manifest.json", '{"format": 1, "files": {}}'),
        ("checkpoints/checkpoint-10/manifest.json", '{"format": 1, "files": {}}'),
        (".lock", ""),
    ],
    ids=["record", "record of an earlier version", "card", "best", "checkpoint", "lock"],
)
def test_one_whole_record_of_a_training_is_enough(file, content):
    path = Path("runs/mine", file)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    (Path("runs/mine") / "config.yaml").write_text("damaged: [")
    assert is_run(Path("runs/mine"))
    assert run_names() == ["mine"]


def test_a_folder_that_cannot_be_looked_into_is_listed(monkeypatch):
    make_run("runs/mine")
    Path("runs/closed").mkdir()
    iterate = Path.iterdir

    def refused(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return iterate(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    assert run_names() == ["closed", "mine"]


def test_a_name_is_a_run_in_the_folder_and_what_has_a_separator_a_path():
    inside, beside = make_run("runs/mine"), make_run("mine")
    assert named_run("mine") == inside
    assert named_run("./mine") == beside
    assert named_run("runs/mine") == inside
    assert named_run(os.path.abspath("mine")) == beside.absolute()  # noqa: PTH100 - a string, as a user gives it
    assert named_run("one", make_run("series/one").parent) == Path("series/one")
    assert named_run("plain/seed42", make_run("comparisons/c/plain/seed42").parents[1]) == Path(
        "comparisons/c/plain/seed42"
    )


def test_a_bare_name_is_no_path():
    make_run("runs/mine"), make_run("other"), make_run("runs/runs/mine")
    with pytest.raises(CheckpointError, match=r"other: no such run in runs. If you mean the folder, give \./other\."):
        named_run("other")
    assert named_run("runs/mine") == Path("runs/mine")
    with pytest.raises(CheckpointError, match="no such folder"):
        named_run("./gone")


@pytest.mark.parametrize("name", ["gone", "../runs", ".", "", "\0"])
def test_a_name_that_is_no_run_is_refused(name):
    make_run("runs/mine")
    with pytest.raises(CheckpointError, match=r"Runs: mine\.|is not a run"):
        named_run(name)
