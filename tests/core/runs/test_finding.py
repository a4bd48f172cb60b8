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
    ],
    ids=["other configuration", "empty configuration", "a user's own configuration", "other records"],
)
def test_what_others_write_is_no_run(files):
    for name, content in files.items():
        path = Path("project", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert not is_run(Path("project"))


@pytest.mark.parametrize("file", ["data.json", "best/rdrop.json", "config.yaml"])
def test_one_whole_record_of_a_training_is_enough(file):
    path = Path("mine", file)
    path.parent.mkdir(parents=True)
    path.write_text(dump_config(load_config()) if file == "config.yaml" else with_checksum({"rdrop": "0.1.0"}))
    assert is_run(Path("mine"))


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


def test_a_name_is_a_run_in_the_folder_first_and_a_path_second():
    inside, beside = make_run("runs/mine"), make_run("mine")
    assert named_run("mine") == inside
    assert named_run("./mine") == inside
    assert named_run("runs/mine") == inside
    assert named_run(os.path.abspath("mine")) == beside.absolute()  # noqa: PTH100 - a string, as a user gives it
    assert named_run("one", make_run("series/one").parent) == Path("series/one")


@pytest.mark.parametrize("name", ["gone", "../runs", ".", "", "\0"])
def test_a_name_that_is_no_run_is_refused(name):
    make_run("runs/mine")
    with pytest.raises(CheckpointError, match=r"Runs: mine\.|is not a run"):
        named_run(name)
