"""Damage is found and named, and what is said to do about it does it."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from rdrop_cli.core.runs import layout, verification
from rdrop_cli.core.runs.details import describe_run
from rdrop_cli.core.runs.verification import verify_runs
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.lock import only_writer
from rdrop_cli.errors import CheckpointError
from training_runs import harm, newest, unfinished


@pytest.fixture
def run(finished_run):
    return shutil.copytree(finished_run, Path("runs/mine"))


def verify(*names):
    (found,) = verify_runs(names)
    return found


def faults(found):
    return {path.as_posix().removeprefix("runs/mine/"): fault for path, fault in found.faults.items()}


def test_a_whole_run_is_whole_and_nothing_is_written(run):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    told = []
    (found,) = verify_runs(on_progress=lambda *progress: told.append(progress))
    assert (found.outcome, found.name, len(found.checked), found.remedy) == ("intact", "mine", 3, None)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    files = sum(len(list(folder.iterdir())) for folder in found.checked)
    assert told[-1] == ("Verifying files", files, files)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


@pytest.mark.parametrize("folder", ["best", "checkpoints/checkpoint-10", "checkpoints/checkpoint-20"])
@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json"])
def test_one_changed_byte_is_named_with_its_file(run, folder, name):
    harm(run / folder / name)
    found = verify("mine")
    assert found.outcome == "damaged"
    assert list(faults(found)) == [folder]
    assert faults(found)[folder].startswith(name)


@pytest.mark.parametrize(
    "name",
    ["config.yaml", "data.json", "metrics.json", "training.json", "test-predictions.parquet",
     "validation-predictions.parquet", "history.csv", "best/rdrop.json", "best/config.json"],
)  # fmt: skip
def test_a_record_that_cannot_be_read_is_named(run, name):
    (run / name).write_bytes(b"\xff\xfe" * 20)
    assert list(faults(verify("mine"))) == [name if "best" not in name else "best"]


@pytest.mark.parametrize("text", ["step,loss\n1,abc\n", "epoch,loss\n1,0.5\n", ""])
def test_a_history_that_a_report_could_not_draw_is_named(run, text):
    (run / "history.csv").write_text(text)
    assert list(faults(verify("mine"))) == ["history.csv"]


@pytest.mark.parametrize("name", ["config.yaml", "data.json", "training.json", "test-predictions.parquet", "best"])
def test_what_is_missing_is_named(run, name):
    shutil.rmtree(run / name) if name == "best" else (run / name).unlink()
    kind = "folder" if name == "best" else "file"
    assert faults(verify("mine")) == {name: f"{kind} not found"}


def test_a_folder_without_a_manifest_is_not_checked(run):
    (run / "best" / integrity.MANIFEST).unlink()
    found = verify("mine")
    assert (found.outcome, found.unsealed, found.faults) == ("not checked", (run / "best",), {})


@pytest.mark.parametrize(
    ("name", "fault"),
    [("model.safetensors", "model.safetensors is missing"), ("rdrop.json", "not found"), ("config.json", "is missing")],
)
def test_a_best_model_that_cannot_be_loaded_is_damaged_also_without_a_manifest(run, name, fault):
    (run / "best" / integrity.MANIFEST).unlink()
    (run / "best" / name).unlink()
    found = verify("mine")
    assert found.outcome == "damaged"
    assert list(faults(found)) == ["best"]
    assert fault in faults(found)["best"]
    assert not faults(found)["best"].startswith("runs/mine/best: ")


def test_a_fault_names_its_file_once(run):
    (run / "config.yaml").write_text("data: {\n  source: [\n")
    assert faults(verify("mine"))["config.yaml"].startswith("line 3: ")


def test_what_is_to_be_restored_is_named(run):
    (run / "config.yaml").write_text("[")
    (run / "data.json").write_text("[")
    assert verify("mine").remedy.startswith("Restore config.yaml and data.json from a copy, or train again.")
    harm(run / "best" / "model.safetensors")
    assert verify("mine").remedy == "Restore config.yaml, data.json and best/ from a copy, or train again."


def test_a_run_that_is_being_written_is_skipped(run):
    with only_writer(run):
        assert (verify().outcome, verify().checked) == ("in use", ())
        harm(run / "best" / "model.safetensors")
        assert verify().faults is None


def test_a_training_that_begins_meanwhile_is_not_called_damage(run, monkeypatch):
    harm(run / "best" / "model.safetensors")
    answers = iter([False, True])
    monkeypatch.setattr(verification, "has_writer", lambda run: next(answers))
    assert verify().outcome == "in use"


def test_runs_of_earlier_versions_have_no_manifests(run):
    for path in run.rglob(integrity.MANIFEST):
        path.unlink()
    found = verify()
    assert (found.outcome, len(found.unsealed), found.checked) == ("not checked", 3, ())


def test_runs_of_earlier_versions_are_whole(run):
    for name in ("training.json", "test-predictions.parquet"):
        (run / name).unlink()
    assert verify().outcome == "intact"
    assert verify(str(unfinished_without_data(run))).outcome == "intact"


def unfinished_without_data(run):
    """As a kill leaves it before the first step."""
    for path in run.iterdir():
        if path.name != "config.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (run / ".lock").touch()
    return run


def test_a_file_that_cannot_be_read_is_named(run, monkeypatch):
    def refuse(path):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(integrity, "sha256_of", refuse)
    found = verify()
    assert found.outcome == "unreadable"
    assert "model.safetensors: cannot be read (Input/output error)" in next(iter(found.faults.values()))
    assert "permissions and the disk" in found.remedy


@pytest.mark.parametrize("name", ["config.yaml", "data.json", "metrics.json", "mine"])
def test_what_may_not_be_read_is_not_called_damaged(run, monkeypatch, name):
    opened, stat, iterate = Path.open, Path.stat, Path.iterdir

    def refusing(function):
        def refuse(path, *args, **kwargs):
            if path.name == name or (path.parent.name == name and function is stat):
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *args, **kwargs)

        return refuse

    monkeypatch.setattr(Path, "open", refusing(opened))
    if name == "mine":
        monkeypatch.setattr(Path, "iterdir", refusing(iterate))
        monkeypatch.setattr(Path, "stat", lambda path, **options: refusing(stat)(path) if path != run else stat(path))
    found = verify()
    assert found.outcome == "unreadable"
    assert list(found.faults.values()) == ["cannot be read (Permission denied)"]
    assert describe_run(run)["state"] == "damaged"


def test_checkpoints_that_may_not_be_looked_into_are_not_called_intact(run, monkeypatch):
    iterate = Path.iterdir

    def refuse(path):
        if path.name == layout.CHECKPOINTS:
            raise PermissionError(13, "Permission denied", str(path))
        return iterate(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert verify().outcome == "unreadable"


def test_a_name_that_is_no_run_is_refused(run):
    with pytest.raises(CheckpointError, match="gone: no such run"):
        verify_runs(["mine", "gone"])


def command_in(remedy):
    """The command of a remedy that names one."""
    words = shlex.split(remedy[remedy.index("rdrop ") :].replace(";", " ;"))
    return words[1 : next((i for i, word in enumerate(words) if word in (";", "restores", "resumes")), None)]


def test_resuming_restores_a_damaged_best_model(run, rdrop):
    harm(unfinished(run) / "best" / "model.safetensors")
    found = verify()
    assert "restores a damaged best" in found.remedy
    rdrop(*command_in(found.remedy), "--no-export")
    assert verify().outcome == "intact"


@pytest.mark.parametrize("name", ["best/model.safetensors", "test-predictions.parquet"])
def test_a_finished_run_is_restored_from_its_checkpoint(run, rdrop, name):
    before, weights = json.loads((run / "metrics.json").read_text()), (run / "best/model.safetensors").read_bytes()
    harm(run / name)
    found = verify()
    assert found.remedy.startswith("Delete runs/mine/metrics.json; then rdrop train --resume --out runs/mine ")
    (run / "metrics.json").unlink()
    rdrop(*command_in(found.remedy), "--no-export")
    assert verify().outcome == "intact"
    assert json.loads((run / "metrics.json").read_text()) == before
    assert (run / "best/model.safetensors").read_bytes() == weights


def test_damaged_checkpoints_of_a_finished_run_may_go(run, rdrop):
    harm(newest(run) / "optimizer.pt")
    rdrop(*command_in(verify().remedy.rstrip(".")), "--yes")
    assert verify().outcome == "intact"


def test_what_nothing_is_left_to_make_again_from_is_trained_again(run):
    shutil.rmtree(run / "checkpoints")
    harm(run / "best" / "model.safetensors")
    assert verify().remedy == (
        "Train it again with: rdrop train --config runs/mine/config.yaml --out runs/mine --overwrite."
    )
    cell = shutil.copytree(run, Path("comparisons/x/plain/seed42"))
    Path("comparisons/x/.lock").touch()
    assert "the same rdrop compare command trains it again" in verify(str(cell)).remedy


def test_a_whole_best_model_can_be_used_whatever_else_is_damaged(run, rdrop):
    (run / "config.yaml").unlink()
    remedy = verify().remedy
    assert "best/ is intact and can be used: rdrop predict --checkpoint runs/mine/best" in remedy
    rdrop(*command_in(remedy.rstrip(".")), "great movie")


@pytest.fixture
def onnx(exported):
    return Path(exported["checkpoint"], "onnx")


def test_an_intact_export_is_counted(onnx):
    assert (verify().outcome, onnx in verify().checked) == ("intact", True)


def break_manifest(onnx):
    (onnx / "manifest.json").write_text((onnx / "manifest.json").read_text().replace("pad_id", "fill_id"))


def change_weights(onnx):
    (onnx.parent / "manifest.json").unlink()
    harm(onnx.parent / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda onnx: harm(onnx / "model.onnx"), "model.onnx has changed since it was written (its SHA-256 differs)"),
        (lambda onnx: (onnx / "model_quantized.onnx").unlink(), "model_quantized.onnx is missing"),
        (lambda onnx: (onnx / "manifest.json").unlink(), "manifest.json: file not found"),
        (break_manifest, "manifest.json: is damaged"),
        (change_weights, "is out of date, because model.safetensors has changed since the export"),
    ],
)
def test_a_damaged_or_outdated_export_is_made_again_by_the_remedy(onnx, damage, fault, rdrop, instant_export):
    damage(onnx)
    found = verify()
    assert (found.outcome, found.faults) == ("damaged", {onnx: fault})
    assert found.remedy == f"Export it again with: rdrop export {found.run}."
    if damage is not change_weights:  # the model is then another than the fixture's
        rdrop(*command_in(found.remedy.rstrip(".")))
        assert verify().outcome == "intact"


def test_what_else_is_damaged_is_repaired_before_the_export(onnx):
    harm(onnx / "model.onnx")
    harm(onnx.parent.parent / "metrics.json")
    assert verify().remedy.endswith(f" Then: rdrop export {verify().run}.")
