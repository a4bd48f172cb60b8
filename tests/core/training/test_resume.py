"""Where a run resumes when something of it is damaged, and what changed when it is not the same run."""

import errno
import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file, save_file

from conftest import make_reviews, tiny_config, write_csv
from rdrop_cli.config import override
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.trainer.checkpointing import WholeCheckpoints
from rdrop_cli.core.training import resume
from rdrop_cli.core.training.observer import Observer
from rdrop_cli.core.training.resume import check_same_processes, find_resume_point, restore_best
from rdrop_cli.core.training.run import TrainingRun
from rdrop_cli.errors import DataError, ModelError, StorageError, TrainingInterrupted
from training_runs import SignalAt, harm, history, newest, weights


class Notices(Observer):
    def __init__(self):
        self.said = []

    def notice(self, message):
        self.said.append(message)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory, tiny_model):
    """A run stopped in its third epoch of four, with checkpoints after steps 10, 20 and 23, and one left in peace."""
    folder = tmp_path_factory.mktemp("trained_once")
    reviews = write_csv(folder / "reviews.csv", make_reviews(200))
    settings = tiny_config(reviews, tiny_model, **{"train.epochs": 4, "train.keep_checkpoints": 9})
    whole = TrainingRun(settings, folder / "whole").start()
    with pytest.raises(TrainingInterrupted):
        TrainingRun(settings, folder / "run", observer=SignalAt(23)).start()
    return settings, folder / "run", whole


@pytest.fixture
def interrupted(trained_once, tmp_path):
    """The same, with a copy of the stopped run to do anything with."""
    settings, run, whole = trained_once
    return settings, shutil.copytree(run, tmp_path / "run"), whole


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "trainer_state.json", "manifest.json"])
def test_a_damaged_checkpoint_is_reported_and_passed_over(interrupted, name):
    settings, run, whole = interrupted
    harm(newest(run) / name)
    notices = Notices()
    resumed = TrainingRun(settings, run, resume=True, observer=notices).start()
    assert resumed.first_step == 20
    (said,) = (line for line in notices.said if "is skipped" in line)
    assert "checkpoint-23 is skipped: " + name in said
    assert resumed.metrics == whole.metrics
    assert history(run) == history(whole.run)
    assert all(torch.equal(value, weights(run)[name]) for name, value in weights(whole.run).items())
    assert not (run / "checkpoints" / "checkpoint-23").exists()


def test_without_a_whole_checkpoint_a_run_begins_again(interrupted):
    settings, run, whole = interrupted
    for checkpoint in (run / "checkpoints").iterdir():
        (checkpoint / "model.safetensors").unlink()
    shutil.rmtree(run / "best")
    resumed = TrainingRun(settings, run, resume=True).start()
    assert resumed.first_step == 0
    assert resumed.metrics == whole.metrics
    assert history(run) == history(whole.run)


@pytest.mark.parametrize("lost", ["all", "weights", "card", "config"])
def test_the_best_model_is_made_again_from_its_checkpoint(interrupted, lost):
    settings, run, _ = interrupted
    before = load((run / "best" / "model.safetensors").read_bytes())
    if lost == "all":
        shutil.rmtree(run / "best")
    else:
        harm(run / "best" / {"weights": "model.safetensors", "card": "rdrop.json", "config": "config.json"}[lost])
    start = find_resume_point(run)
    assert start.checkpoint == newest(run)
    training = TrainingRun(settings, run, resume=True)
    restore_best(run, start.checkpoint, settings, training.set_up().data)
    after = load((run / "best" / "model.safetensors").read_bytes())
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_checkpoint_whose_best_model_is_lost_is_passed_over(interrupted):
    _, run, _ = interrupted
    best = resume._best_step(newest(run))
    shutil.rmtree(run / "best")
    harm(run / "checkpoints" / f"checkpoint-{best}" / "model.safetensors")
    start = find_resume_point(run)
    assert start.step < best
    assert "the best model" in start.damaged[newest(run)]


def test_the_best_checkpoint_is_never_removed(config, tmp_path):
    noisy = [(text, zlib.crc32(text.encode()) % 2) for text, _ in make_reviews(200)]
    settings = config(
        **{
            "data.source": str(write_csv(tmp_path / "noisy.csv", noisy)), "train.metric": "nll", "train.epochs": 5,
            "train.keep_checkpoints": 1, "train.early_stopping": {"patience": 0},
        }
    )  # fmt: skip
    result = TrainingRun(settings, tmp_path / "run").start()
    kept = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert result.best_epoch < 5, "or this test shows nothing"
    assert kept == {"checkpoint-50", f"checkpoint-{round(result.best_epoch * 10)}"}
    card = json.loads((tmp_path / "run" / "best" / "rdrop.json").read_text())
    assert card["step"] == round(result.best_epoch * 10)


def test_changed_data_is_refused_with_the_difference(interrupted, reviews):
    settings, run, _ = interrupted
    reviews.write_text(reviews.read_text().replace("great", "grand"))
    settings = override(settings, {"data.source": str(reviews)}, "test")
    with pytest.raises(DataError) as error:
        TrainingRun(settings, run, resume=True).start()
    assert "the data has changed since this run began: " in str(error.value)
    assert "examples added" in str(error.value)
    assert "grand" in str(error.value)


def test_a_checkpoint_that_cannot_be_read_now_is_not_given_up(interrupted, monkeypatch):
    settings, run, _ = interrupted
    there = sorted(path.name for path in (run / "checkpoints").iterdir())

    def stale(path):
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    monkeypatch.setattr(integrity, "sha256_of", stale)
    with pytest.raises(
        StorageError, match=r"cannot be read \(Stale file handle\).*then resume with: rdrop train --resume"
    ):
        TrainingRun(settings, run, resume=True).start()
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == there


def test_a_changed_model_is_refused_with_the_difference(interrupted, tiny_model, tmp_path):
    settings, run, _ = interrupted
    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy)
    content = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**content, "hidden_dropout_prob": 0.5}))
    changed = settings.model_copy(update={"model": settings.model.model_copy(update={"name": str(copy)})})
    with pytest.raises(
        ModelError, match=r"the model has changed since this run began: hidden_dropout_prob: 0.1 -> 0.5\."
    ):
        TrainingRun(changed, run, resume=True).start()


def test_other_base_weights_are_refused_where_the_run_recorded_its_own(interrupted, tiny_model, tmp_path):
    settings, run, _ = interrupted
    copy = shutil.copytree(tiny_model, tmp_path / "model")
    stored = load_file(copy / "model.safetensors")
    save_file({name: value * 2 for name, value in stored.items()}, copy / "model.safetensors", {"format": "pt"})
    changed = settings.model_copy(update={"model": settings.model.model_copy(update={"name": str(copy)})})
    with pytest.raises(ModelError, match=r"the model has changed since this run began: other weights\."):
        TrainingRun(changed, run, resume=True).start()
    record = json.loads((run / "data.json").read_text())
    del record["sha256"], record["model"]["weights"]  # as an earlier version wrote it
    (run / "data.json").write_text(integrity.with_checksum(record))
    TrainingRun(changed, run, resume=True).start()


def test_another_number_of_processes_is_said(interrupted):
    _, run, _ = interrupted
    (newest(run) / "rng_state.pth").rename(newest(run) / "rng_state_0.pth")
    notices = Notices()
    check_same_processes(newest(run), notices.notice)
    assert "another number of processes" in notices.said[0]


@pytest.mark.parametrize(("device", "notices"), [("mps", 1), ("cpu", 0)])
def test_the_random_state_that_an_apple_gpu_does_not_get_back_is_said(device, notices, interrupted, monkeypatch):
    settings, run, _ = interrupted
    observer = Notices()
    training = TrainingRun(settings, run, resume=True, observer=observer)
    ready = training.set_up()
    said_to_be = torch.device(device)  # here it computes on the CPU all the same
    monkeypatch.setattr(training, "set_up", lambda: replace(ready, device=said_to_be))
    training.start()
    assert len([said for said in observer.said if "Apple GPU" in said]) == notices


def test_weights_that_are_not_finite_are_never_saved(config, tmp_path):
    class SpoilAndStop(SignalAt):
        def step(self, step):
            if step == 15:
                with torch.no_grad():
                    training.set_up().model.classifier.bias.fill_(float("nan"))
            super().step(step)

    settings = config(**{"train.log_steps": 100})
    training = TrainingRun(settings, tmp_path / "run", observer=SpoilAndStop(15))
    with pytest.raises(ModelError, match="the weights are no longer finite at step 15"):
        training.start()
    assert newest(tmp_path / "run").name == "checkpoint-10"
    assert find_resume_point(tmp_path / "run").damaged == {}


@pytest.mark.parametrize(
    "message",
    ["[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0", "basic_ios::clear: iostream error"],
)
def test_a_full_disk_names_the_command_to_resume_with(config, tmp_path, monkeypatch, message):
    settings, run = config(), tmp_path / "run"
    save = torch.save

    def full(content, path, *args, **kwargs):
        if "checkpoint-20" in str(path):
            Path(path).write_bytes(b"half")
            raise RuntimeError(message)
        save(content, path, *args, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match=r"checkpoint-20: cannot be written .*rdrop train --resume --out .*run"):
        TrainingRun(settings, run).start()
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["checkpoint-10"]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    resumed = TrainingRun(settings, run, resume=True).start()
    assert resumed.first_step == 10
    assert resumed.metrics == TrainingRun(settings, tmp_path / "whole").start().metrics


def test_stopped_between_its_last_checkpoint_and_tidying_up_a_run_tidies_up_when_it_goes_on(
    config, tmp_path, monkeypatch
):
    settings = config(**{"train.epochs": 6, "train.keep_checkpoints": 2, "train.early_stopping.patience": 0})
    whole = TrainingRun(settings, tmp_path / "whole").start()

    class Killed(BaseException):
        pass

    tidy = WholeCheckpoints.remove_old

    def killed(trainer, folder):
        if trainer.state.global_step == 60:
            raise Killed
        tidy(trainer, folder)

    with monkeypatch.context() as patched:
        patched.setattr(WholeCheckpoints, "remove_old", killed)
        with pytest.raises(Killed):
            TrainingRun(settings, tmp_path / "run").start()
    assert (
        len(list((tmp_path / "run" / "checkpoints").iterdir())) == len(list((whole.run / "checkpoints").iterdir())) + 1
    )
    TrainingRun(settings, tmp_path / "run", resume=True).start()
    left = [{path.name for path in (run / "checkpoints").iterdir()} for run in (tmp_path / "run", whole.run)]
    assert left[0] == left[1]


@pytest.mark.parametrize(
    "method",
    [
        {"rdrop.alpha": 0.0, "train.ema": 0.9},
        {"rdrop.alpha": 0.0, "rdrop.two_passes": True},
        {"rdrop.alpha": 2.0, "rdrop.noise": 0.01},
        {"rdrop.alpha_warmup": 0.8, "rdrop.dropout": 0.2},
    ],
    ids=["ema", "two-pass", "r3f", "warm-up"],
)
def test_every_method_resumes_bit_exactly(tmp_path, tiny_model, method):
    reviews = write_csv(tmp_path / "reviews.csv", make_reviews(120))
    settings = tiny_config(reviews, tiny_model, **{"train.epochs": 3, **method})
    whole = TrainingRun(settings, tmp_path / "whole").start()
    with pytest.raises(TrainingInterrupted):
        TrainingRun(settings, tmp_path / "cut", observer=SignalAt(9)).start()
    resumed = TrainingRun(settings, tmp_path / "cut", resume=True).start()
    assert resumed.first_step == 9 and resumed.metrics == whole.metrics
    assert history(resumed.run) == history(whole.run)
    for path in [f"checkpoints/{newest(whole.run).name}/raw_weights.safetensors"] * ("train.ema" in method) + [
        f"checkpoints/{newest(whole.run).name}/model.safetensors",
        "best/model.safetensors",
    ]:
        assert (resumed.run / path).read_bytes() == (whole.run / path).read_bytes()
    assert not (resumed.run / "best" / "raw_weights.safetensors").exists()
