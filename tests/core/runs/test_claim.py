"""Which folder a training gets."""

import shutil
from pathlib import Path

import pytest

from rdrop_cli.config import dump_config, load_config
from rdrop_cli.core.runs.claim import claim_run
from rdrop_cli.core.runs.resolve import open_run
from rdrop_cli.core.storage.lock import LOCK, only_writer
from rdrop_cli.errors import CheckpointError, ConfigError, StorageError

CONFIG = load_config("starter")
NAME = "runs/rotten-tomatoes-starter-alpha5-seed42"


def begun(name, config=CONFIG):
    folder = Path(name)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(config))
    (folder / LOCK).touch()
    return folder


def test_new_runs_get_names_of_their_own_while_others_are_being_made():
    with claim_run(None, CONFIG) as first, claim_run(None, CONFIG) as second:
        assert (str(first), str(second)) == (NAME, f"{NAME}-2")


def test_a_claim_that_came_to_nothing_leaves_nothing():
    with pytest.raises(RuntimeError), claim_run(None, CONFIG) as folder:
        raise RuntimeError
    assert not folder.exists()
    with claim_run(None, CONFIG) as folder:
        (folder / "config.yaml").write_text("")
    assert folder.exists()


def test_where_no_locked_file_can_be_removed_it_is_released_first(monkeypatch):
    """As on Windows, where a folder would else stay behind."""
    unlink = Path.unlink

    def unlink_what_is_free(self, missing_ok=False):
        if self.name == LOCK:
            try:
                with only_writer(self.parent):
                    pass
            except CheckpointError as error:
                raise PermissionError("it is open") from error
        unlink(self, missing_ok=missing_ok)

    with pytest.raises(RuntimeError), claim_run(None, CONFIG) as folder:
        monkeypatch.setattr(Path, "unlink", unlink_what_is_free)
        raise RuntimeError
    assert not folder.exists()


def test_a_folder_in_which_no_run_had_begun_when_it_was_killed_is_free():
    Path(NAME).mkdir(parents=True)
    Path(NAME, LOCK).write_text("")
    Path(NAME, ".config.yaml.host-1.partial").write_text("half")
    with claim_run(None, CONFIG) as folder:
        assert str(folder) == NAME
        assert [path.name for path in folder.iterdir()] == [LOCK]
    open_run(None, [], out=Path(NAME), resume=False)


def test_a_run_gives_way_only_when_asked():
    folder = begun("mine")
    with pytest.raises(CheckpointError, match=r"--resume to continue it, or --overwrite"):
        open_run(None, [], out=folder, resume=False)
    assert open_run(None, [], out=folder, resume=False, overwrite=True)[1] == folder
    with only_writer(folder), pytest.raises(CheckpointError, match="another process"):
        open_run(None, [], out=folder, resume=False, overwrite=True)


def test_what_is_no_run_never_gives_way():
    Path("home").mkdir()
    Path("home/diary.txt").write_text("dear diary")
    with pytest.raises(CheckpointError, match=r"contains diary\.txt, which is not part of a run"):
        open_run(None, [], out=Path("home"), resume=False, overwrite=True)


@pytest.mark.parametrize("foreign", ["src/main.py", "config.yaml"])
def test_a_project_with_a_configuration_of_its_own_is_no_run(foreign):
    folder = begun("project")
    (folder / LOCK).unlink()
    (folder / foreign).parent.mkdir(exist_ok=True)
    (folder / foreign).write_text("service: web\n")
    with pytest.raises(CheckpointError, match=f"contains {foreign.partition('/')[0]}, which is not part of a run"):
        open_run(None, [], out=folder, resume=False, overwrite=True)


def test_a_configuration_that_a_user_wrote_is_no_run():
    (begun("mine") / LOCK).unlink()
    for overwrite in (False, True):
        with pytest.raises(CheckpointError, match=r"contains config\.yaml, which is not part of a run"):
            open_run(None, [], out=Path("mine"), resume=False, overwrite=overwrite)


@pytest.mark.parametrize("name", ["config.yaml", "data.json", "best", "checkpoints"])
def test_a_damaged_run_gives_way_too(finished_run, name):
    run = shutil.copytree(finished_run, Path("runs/mine"))
    shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).write_bytes(b"\xff")
    assert open_run(None, [], out=run, resume=False, overwrite=True)[1] == run


def test_an_empty_folder_of_the_users_stays():
    Path("mine").mkdir()
    with pytest.raises(RuntimeError), claim_run(Path("mine"), CONFIG):
        raise RuntimeError
    assert list(Path("mine").iterdir()) == []


def test_other_words_for_the_same_may_be_used_to_go_on():
    Path("data").mkdir()
    recorded = load_config("starter", [("data.source", "data"), ("train.precision", "bfloat16")])
    folder = begun("mine", recorded)
    words = [("data.source", "./data"), ("train.precision", "auto")]
    assert open_run(None, words, out=folder, resume=True)[0] == recorded


def test_only_what_saves_memory_may_change_when_a_run_goes_on():
    folder = begun("mine")
    changed, _ = open_run(None, [("train.micro_batch_size", "auto")], out=folder, resume=True)
    assert changed.train.micro_batch_size == "auto"
    with pytest.raises(ConfigError, match=r"train.lr: 0.0001 -> 0.001"):
        open_run(None, [("train.lr", 1e-3)], out=folder, resume=True)


def test_a_place_that_cannot_be_written_is_named():
    Path("file").write_text("")
    with pytest.raises(StorageError, match=r"file/below: cannot be written"), claim_run(Path("file/below"), CONFIG):
        pass
