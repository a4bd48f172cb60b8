"""What is removed, what is kept, and what a kill in the middle leaves."""

import shutil
from pathlib import Path

import pytest

from rdrop_cli.core.runs.removal import plan_removal, remove
from rdrop_cli.core.runs.resolve import open_run
from rdrop_cli.core.storage.lock import only_writer
from rdrop_cli.errors import CheckpointError, StorageError
from training_runs import harm, unfinished


@pytest.fixture
def run(finished_run):
    return shutil.copytree(finished_run, Path("runs/mine"))


def remove_all(*names, **options):
    for removal in plan_removal(names, **options):
        remove(removal)


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
    run.rename(tmp_path / "elsewhere")
    run.symlink_to(tmp_path / "elsewhere")
    (planned,) = plan_removal(["mine"])
    assert planned.kept == ("what runs/mine/checkpoints links to",)
    remove(planned)
    assert not run.is_symlink()
    assert not (tmp_path / "elsewhere").exists()
    assert list((tmp_path / "large").iterdir())


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
        with pytest.raises(CheckpointError, match="another training"):
            remove(planned)
    assert (run / "metrics.json").is_file()


def test_a_run_of_a_comparison_at_work_is_refused(finished_run):
    cell = shutil.copytree(finished_run, Path("comparisons/x/plain/seed42"))
    with only_writer(Path("comparisons/x")), pytest.raises(CheckpointError, match="is being written"):
        plan_removal([str(cell)])
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
        remove_all("mine")
        assert [path.name for path in run.iterdir()] == ["diary.txt"] if foreign else not run.exists()
        shutil.rmtree(run, ignore_errors=True)


@pytest.mark.parametrize("name", ["config.yaml", "data.json", "metrics.json"])
def test_a_damaged_run_can_be_removed(run, name):
    (run / name).write_bytes(b"\xff")
    remove_all("mine")
    assert not run.exists()


def test_checkpoints_alone(run):
    before = {path.name for path in run.iterdir()}
    (planned,) = plan_removal(["mine"], checkpoints_only=True)
    assert planned.size == sum(path.stat().st_size for path in (run / "checkpoints").rglob("*") if path.is_file())
    remove(planned)
    assert before - {path.name for path in run.iterdir()} == {"checkpoints"}
    remove_all("mine", checkpoints_only=True)  # nothing is left to remove
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
