"""What is removed, what is kept, and what a kill in the middle leaves."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from rdrop_cli.core.runs import removal
from rdrop_cli.core.runs.finding import run_names
from rdrop_cli.core.runs.removal import plan_removal, remove
from rdrop_cli.core.runs.resolve import open_run
from rdrop_cli.core.storage.lock import only_writer
from rdrop_cli.errors import CheckpointError, StorageError
from training_runs import harm, unfinished


@pytest.fixture
def run(finished_run):
    return shutil.copytree(finished_run, Path("runs/mine"))


def remove_all(*names, **options):
    for planned in plan_removal(names, **options):
        remove(planned)


def test_a_run_goes_as_a_whole(run):
    (run / ".best.host-1.old").mkdir()  # left by a writer that was killed
    (planned,) = plan_removal(["mine", "runs/mine"])
    assert planned.size == sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    remove(planned)
    assert not run.exists()


def test_what_is_not_of_the_run_is_kept(run):
    (run / "diary.txt").write_text("dear diary")
    (planned,) = plan_removal(["mine"])
    assert planned.kept == ("diary.txt",)
    assert planned.size == sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) - 10
    remove(planned)
    assert [path.name for path in run.iterdir()] == ["diary.txt"]


def test_what_links_lead_to_is_kept(run, tmp_path):
    (run / "checkpoints").rename(tmp_path / "large")
    (run / "checkpoints").symlink_to(tmp_path / "large")
    (planned,) = plan_removal(["mine"])
    assert planned.kept == ("what runs/mine/checkpoints links to",)
    remove(planned)
    assert not run.exists()
    assert list((tmp_path / "large").iterdir())


@pytest.fixture
def linked(run, tmp_path):
    """A run elsewhere, with a link to it under runs/."""
    run.rename(tmp_path / "elsewhere")
    run.symlink_to(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def test_of_a_run_that_is_a_link_only_the_link_is_removed(run, linked):
    before = sorted(linked.rglob("*"))
    (planned,) = plan_removal(["mine", "./runs/mine"])
    assert (planned.link_to, planned.size, planned.kept) == (linked, 0, ())
    remove(planned)
    assert not run.is_symlink()
    assert sorted(linked.rglob("*")) == before


def test_a_link_and_what_it_leads_to_can_be_removed_together(run, linked):
    remove_all(str(linked), "mine")
    assert not run.is_symlink()
    assert not linked.exists()


def test_the_checkpoints_of_a_link_stay(linked):
    with pytest.raises(CheckpointError, match=f"runs/mine: a link to {linked}, so nothing is removed"):
        plan_removal(["mine"], checkpoints_only=True)


def test_a_link_that_took_the_place_of_a_run_is_left_alone(run, tmp_path):
    (planned,) = plan_removal(["mine"])
    run.rename(tmp_path / "elsewhere")
    run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="has changed meanwhile"):
        remove(planned)
    assert (tmp_path / "elsewhere/best").is_dir()


@pytest.mark.parametrize("files", [[], ["main.py"]])
def test_what_became_of_a_run_before_it_was_agreed_to_is_checked(run, files):
    (planned,) = plan_removal(["mine"])
    shutil.rmtree(run)
    run.mkdir()
    for name in files:
        (run / name).touch()
    with pytest.raises(CheckpointError, match="is not a run"):
        remove(planned)
    assert [path.name for path in run.iterdir()] == files
    run.rename("gone")
    with pytest.raises(CheckpointError, match="has changed meanwhile"):
        remove(planned)
    assert not run.exists()


def test_checkpoints_that_are_needed_by_now_stay(run):
    (planned,) = plan_removal(["mine"], checkpoints_only=True)
    unfinished(run)
    with pytest.raises(CheckpointError, match="has not finished"):
        remove(planned)
    assert (run / "checkpoints").is_dir()


def test_a_training_that_ends_before_the_lock_is_taken_is_noticed(run, monkeypatch):
    """Between the check and the lock, it took back what made the run finished."""

    @contextlib.contextmanager
    def late(folder):
        (folder / "metrics.json").unlink()
        with only_writer(folder):
            yield

    monkeypatch.setattr(removal, "only_writer", late)
    with pytest.raises(CheckpointError, match="has not finished"):
        remove_all("mine", checkpoints_only=True)
    assert (run / "checkpoints").is_dir()


@pytest.mark.parametrize("content", [None, ".lock", ".config.yaml.host-1.partial"])
def test_an_empty_folder_is_removed_only_if_it_is_what_is_left_of_a_run(content):
    Path("runs/mine").mkdir(parents=True)
    if content is None:
        with pytest.raises(CheckpointError, match="is not a run"):
            remove_all("mine")
        return
    Path("runs/mine", content).touch()
    remove_all("mine")
    assert not Path("runs/mine").exists()


@pytest.mark.parametrize("name", [".", ".."])
def test_the_current_folder_is_never_removed(run, monkeypatch, name):
    monkeypatch.chdir(run if name == "." else run / "best")
    with pytest.raises(CheckpointError, match="the current folder is in it"):
        remove_all(name)


def test_a_bare_name_removes_nothing_outside_the_folder_of_runs(run):
    run.rename("mine")
    with pytest.raises(CheckpointError, match="mine: no such run in runs"):
        remove_all("mine")
    remove_all("./mine")
    assert not Path("mine").exists()


@pytest.mark.parametrize(
    ("closed", "checkpoints_only"),
    [("runs", False), ("runs/mine", False), ("runs/mine/best", False), ("runs/mine", True)],
)
def test_a_folder_that_cannot_be_written_is_named_before_anything_is_removed(
    run, monkeypatch, closed, checkpoints_only
):
    shutil.copytree(run, "runs/other")
    before = sorted(Path("runs").rglob("*"))
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != Path(closed) and access(path, mode))
    with pytest.raises(StorageError, match=rf"^{closed}: cannot be written \(Permission denied\)"):
        remove_all("other", "mine", checkpoints_only=checkpoints_only)
    assert sorted(Path("runs").rglob("*")) == before


def test_nothing_is_removed_if_one_name_is_wrong(run):
    Path("project").mkdir()
    Path("project/main.py").touch()
    for name in ("gone", "project", "./project"):
        with pytest.raises(CheckpointError, match=f"{name.removeprefix('./')}: "):
            remove_all("mine", name)
    assert (run / "best").is_dir()


def test_a_run_that_is_being_written_is_refused(run):
    (planned,) = plan_removal(["mine"])
    with only_writer(run):
        with pytest.raises(CheckpointError, match="is being written by another process"):
            plan_removal(["mine"])
        with pytest.raises(CheckpointError, match="is being written by another process"):
            remove(planned)
    assert (run / "metrics.json").is_file()


def test_a_run_of_a_comparison_at_work_is_refused(finished_run):
    cell = shutil.copytree(finished_run, Path("comparisons/x/plain/seed42"))
    Path("runs").mkdir()
    Path("runs/link").symlink_to(cell.absolute())
    (planned,) = plan_removal([str(cell)])
    with only_writer(Path("comparisons/x")):
        for name in (str(cell), "link"):
            with pytest.raises(CheckpointError, match="is being written"):
                plan_removal([name])
        with pytest.raises(CheckpointError, match="is being written"):
            remove(planned)
    remove_all("x/plain/seed42", folder=Path("comparisons"))
    assert not cell.exists()


@pytest.mark.parametrize("foreign", [False, True])
def test_what_a_kill_leaves_can_be_removed(run, monkeypatch, foreign):
    """Killed before each removal of a file or a folder."""

    class Killed(BaseException):
        pass

    def dying(function, name):
        def removing(path, *args, **kwargs):
            if path.name == name:
                raise Killed
            return function(path, *args, **kwargs)

        return removing

    names = ["best", "checkpoints", "data.json", "history.csv", "metrics.json", "config.yaml", ".lock", "mine"]
    whole = run.rename("whole")
    if foreign:
        (whole / "diary.txt").touch()
    for name in names:
        shutil.copytree(whole, run)
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "rmtree", dying(shutil.rmtree, name))
            patched.setattr(Path, "unlink", dying(Path.unlink, name))
            patched.setattr(Path, "rmdir", dying(Path.rmdir, name))
            if foreign and name == "mine":
                continue  # the folder stays
            with pytest.raises(Killed):
                remove_all("mine")
        if foreign and not (run / "config.yaml").exists():  # all of the run is gone
            shutil.rmtree(run)
            continue
        if name == "mine":
            assert list(run.iterdir()) == []
            run.rmdir()
            continue
        remove_all("mine")
        assert [path.name for path in run.iterdir()] == ["diary.txt"] if foreign else not run.exists()
        shutil.rmtree(run, ignore_errors=True)


@pytest.mark.parametrize("names", [["config.yaml"], ["data.json"], ["metrics.json"], ["config.yaml", "data.json"]])
def test_a_damaged_run_can_be_removed(run, names):
    for name in names:
        (run / name).write_bytes(b"\xff")
    assert run_names() == ["mine"]
    remove_all("mine")
    assert not run.exists()


def test_checkpoints_alone(run):
    before = {path.name for path in run.iterdir()}
    (planned,) = plan_removal(["mine"], checkpoints_only=True)
    assert planned.size == sum(path.stat().st_size for path in (run / "checkpoints").rglob("*") if path.is_file())
    remove(planned)
    assert before - {path.name for path in run.iterdir()} == {"checkpoints"}
    (planned,) = plan_removal(["mine"], checkpoints_only=True)
    assert planned.is_empty
    remove(planned)  # nothing is left to remove
    with pytest.raises(CheckpointError, match="this run has already finished"):
        open_run(None, [], out=run, resume=True)
    with pytest.raises(CheckpointError, match="or --overwrite to replace it"):
        open_run(None, [], out=run, resume=False)


def test_a_run_that_needs_its_checkpoints_keeps_them(run):
    with pytest.raises(CheckpointError, match=r"has not finished .* rdrop train --resume --out runs/mine"):
        plan_removal([str(unfinished(run))], checkpoints_only=True)
    remove_all("mine")


def test_a_disk_that_refuses_is_named(run, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise OSError(30, "Read-only file system", str(path))

    harm(run / "best" / "model.safetensors")
    monkeypatch.setattr(shutil, "rmtree", refuse)
    for only in (False, True):
        with pytest.raises(StorageError, match=r"runs/mine.*: cannot be written \(Read-only file system\)"):
            remove_all("mine", checkpoints_only=only)
