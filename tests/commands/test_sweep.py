"""rdrop sweep: what it finds, that nothing is lost or repeated, and what is refused before anything is trained."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from conftest import tiny_options
from rdrop_cli.core.sweep import plan as plans
from rdrop_cli.core.sweep import runner, study, trial_trainer
from rdrop_cli.core.sweep.observer import SweepObserver
from rdrop_cli.errors import ModelError
from training_runs import SignalAt

pytest.importorskip("optuna")
SPACE = ("--space", "alpha=0.5..8:log", "--space", "lr=1e-3..3e-2:log")


@pytest.fixture
def sweep(rdrop, reviews, tiny_model):
    """Runs a small sweep and gives its document."""

    def run(*options, trials=3, seeds=2):
        limits = ("--trials", trials, "--seeds-per-trial", seeds)
        return rdrop.json("sweep", reviews, *tiny_options(tiny_model), "--epochs", 1, *limits, *(options or SPACE))

    return run


def trials_of(document, search="rdrop"):
    return [(trial["values"], trial["state"], trial["scores"]) for trial in document["searches"][search]["trials"]]


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.json")}


def test_the_winner_has_the_best_mean_on_validation_and_becomes_a_recipe(sweep, rdrop, in_empty_folder):
    document = sweep(trials=2)
    folder = in_empty_folder / document["sweep"]
    search = document["searches"]["rdrop"]
    means = [trial["mean"] for trial in search["trials"]]
    assert len(means) == 2 and search["best"] == means.index(max(means))
    for trial in search["trials"]:
        for seed, score in zip(document["seeds"], trial["scores"], strict=True):
            run = folder / "rdrop" / "trials" / f"{trial['number']:03d}" / f"seed{seed}"
            assert json.loads((run / "metrics.json").read_text())["validation"]["f1"] == score
    assert "test" not in json.dumps({**document, "sweep": ""})
    best = search["trials"][search["best"]]["values"]
    shown = rdrop.json("config", "show", folder / "best.yaml")
    assert shown["rdrop"]["alpha"] == best["rdrop.alpha"] and shown["train"]["lr"] == best["train.lr"]
    with (folder / "sweep.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["rdrop.alpha"]) for row in rows] == [values["rdrop.alpha"] for values, *_ in trials_of(document)]
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "results.json").read_text()) == document


def test_an_interrupted_sweep_ends_elsewhere_as_an_uninterrupted_one_and_trains_nothing_twice(
    sweep, monkeypatch, in_empty_folder
):
    whole = sweep("--out", "whole", *SPACE, trials=2)
    interrupted = SweepObserver()
    interrupted.training = SignalAt(3)

    def began(trial, seed, *_):
        interrupted.training.at = 3 if (trial.number, seed) == (1, 43) else 0
        return interrupted.training

    interrupted.began = began
    original = runner.sweep
    with monkeypatch.context() as patch:
        patch.setattr(runner, "sweep", lambda plan, *_: original(plan, interrupted))
        with pytest.raises(AssertionError, match="Stopped in trial 2 seed 43 and saved"):
            sweep("--out", "broken", *SPACE, trials=2)
    before = times(in_empty_folder / "broken")
    assert len(before) == 3
    (in_empty_folder / "broken" / "rdrop" / study.JOURNAL).unlink()
    resumed = sweep("--out", "broken", "--on", "local:2", "--threads", 1, *SPACE, trials=2)
    assert trials_of(resumed) == trials_of(whole)
    after = times(in_empty_folder / "broken")
    assert {path: after[path] for path in before} == before


def test_more_trials_continue_the_search(sweep, in_empty_folder):
    first = sweep(trials=2, seeds=1)
    before = times(in_empty_folder / first["sweep"])
    more = sweep(trials=3, seeds=1)
    assert trials_of(more)[:2] == trials_of(first) and len(trials_of(more)) == 3
    assert before.items() <= times(in_empty_folder / first["sweep"]).items()


def test_winners_are_confirmed_against_plain_fine_tuning_that_was_tuned_as_much(sweep):
    document = sweep("--confirm", 2, *SPACE, trials=2, seeds=1)
    plain, rdrop = trials_of(document, "plain"), trials_of(document)
    assert len(plain) == len(rdrop) == 2
    assert [set(values) for values, *_ in plain] == [{"train.lr"}] * 2
    confirmed = document["confirm"]
    assert confirmed["baseline"] == "plain-tuned" and list(confirmed["arms"]) == ["plain-tuned", "rdrop-tuned"]
    assert not set(confirmed["seeds"]) & set(document["seeds"])
    assert confirmed["arms"]["plain-tuned"]["settings"]["rdrop.alpha"] == 0
    sweep(trials=2, seeds=1)  # without --confirm, after which the other search is still known
    assert set(json.loads(Path(document["sweep"], plans.RECORD).read_text())["searches"]) == {"plain", "rdrop"}


def test_a_trial_that_cannot_be_trained_is_named_and_the_others_go_on(sweep, rdrop, reviews, tiny_model):
    options = ("--space", "dropout=0,0.2", "--space", "alpha=1..4", "--set", "model.config.classifier_dropout=0.0")
    trials = trials_of(sweep(*options, trials=5, seeds=1))
    states = {values["dropout"]: state for values, state, _ in trials}
    assert states == {0: "failed", 0.2: "complete"}


def test_a_search_whose_trials_fail_one_after_the_other_ends_and_counts_their_time(
    sweep, rdrop, reviews, tiny_model, monkeypatch, in_empty_folder
):
    trained = trial_trainer.TrialTrainer.train

    def fail_after_the_first(self, trial, config, seeds):
        if trial.number:
            raise ModelError("no memory left")
        trained(self, trial, config, seeds)

    monkeypatch.setattr(runner, "_IN_A_ROW", 2)
    monkeypatch.setattr(trial_trainer.TrialTrainer, "train", fail_after_the_first)
    options = (*tiny_options(tiny_model), "--epochs", 1, "--budget", "1h", "--seeds-per-trial", 1, *SPACE)
    said = rdrop.error("sweep", reviews, *options, "--out", "failing")
    assert "error: the last 2 trials failed, the last one with: no memory left" in said
    states = [json.loads(path.read_text()) for path in sorted(Path("failing").rglob("trial.json"))]
    assert [state["state"] for state in states] == ["complete", "failed", "failed"]
    assert all(state["seconds"] > 0 for state in states[1:])
    monkeypatch.setattr(trial_trainer.TrialTrainer, "train", trained)
    continued = rdrop.json("sweep", reviews, *options, "--trials", 4, "--out", "failing")
    assert [state for _, state, _ in trials_of(continued)] == ["complete", "failed", "failed", "complete"]


def test_a_removed_run_of_a_whole_trial_is_trained_again(sweep):
    document = sweep(trials=2)
    for seed in document["seeds"]:
        shutil.rmtree(Path(document["sweep"], "rdrop", "trials", "000", f"seed{seed}"))
        assert trials_of(sweep(trials=2)) == trials_of(document)


def test_it_is_said_before_training_if_the_disk_is_too_small_for_all_models(rdrop, reviews, tiny_model, monkeypatch):
    monkeypatch.setattr(trial_trainer, "free_space", lambda folder: 0)
    options = (*tiny_options(tiny_model), "--epochs", 1, "--trials", 1, "--seeds-per-trial", 2, *SPACE)
    said = " ".join(rdrop("sweep", reviews, *options).stdout.split())
    assert "Disk: each run keeps its model, and 2 more need" in said


def test_hopeless_trials_are_given_up(sweep, monkeypatch):
    monkeypatch.setattr(study.Study, "is_hopeless", lambda self: len(self._study.trials) > 1)
    monkeypatch.setattr(runner, "SEEDS_BEFORE_PRUNING", 1)
    trials = trials_of(sweep(trials=2))
    assert [(state, len(scores)) for _, state, scores in trials] == [("complete", 2), ("pruned", 1)]


def test_a_budget_of_time_ends_the_search(sweep, rdrop, reviews, tiny_model):
    options = (*tiny_options(tiny_model), "--epochs", 1, "--budget", "1s", "--seeds-per-trial", 1, *SPACE)
    trials = trials_of(rdrop.json("sweep", reviews, *options))
    assert 1 <= len(trials) < 5


def test_a_sweep_of_an_earlier_version_continues(sweep, in_empty_folder):
    document = sweep(trials=1, seeds=1)
    record = in_empty_folder / document["sweep"] / plans.RECORD
    content = json.loads(record.read_text())
    older = content["searches"]["rdrop"]["config"].replace("  alpha_warmup: 0.0\n", "").replace("  ema: 0.0\n", "")
    content["searches"]["rdrop"]["config"] = older
    record.write_text(json.dumps(content))
    assert trials_of(sweep(trials=1, seeds=1)) == trials_of(document)


def test_tuned_plain_fine_tuning_has_nothing_of_r_drop(rdrop, reviews, tiny_model):
    options = ("--confirm", 2, "--set", "rdrop.noise=0.1", "--space", "rdrop.noise=0.1..1", "--space", "lr=1e-5..1e-4")
    document = rdrop.json("sweep", reviews, "--model", tiny_model, "--dry-run", *options)
    assert {name: set(space) for name, space in document["searches"].items()} == {
        "plain": {"train.lr"}, "rdrop": {"rdrop.noise", "train.lr"},
    }  # fmt: skip


def test_a_sweep_with_other_settings_needs_another_folder(sweep, rdrop, reviews, tiny_model):
    sweep(trials=1, seeds=1)
    options = (*tiny_options(tiny_model), "--epochs", 1, "--trials", 1, "--seeds-per-trial", 1)
    said = rdrop.error("sweep", reviews, *options, "--space", "alpha=1..2")
    assert "this sweep began with other settings (space of rdrop)" in said


def test_the_space_is_shown_without_training(rdrop, reviews, tiny_model, in_empty_folder):
    document = rdrop.json(
        "sweep", reviews, "--model", tiny_model, "--dry-run", "--space", "default", "--space", "epochs=3"
    )
    assert document["searches"] == {
        "rdrop": {
            "rdrop.alpha": "0.1..20:log",
            "dropout": "0.05..0.3",
            "train.label_smoothing": "0.0,0.05,0.1,0.2",
            "train.lr": "3.33333e-05..0.0003:log",
            "train.epochs": "3",
        }
    }
    assert not (in_empty_folder / "sweeps").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--space", "alpah=1..2"), "--space alpah=1..2: unknown key alpah (did you mean alpha?)"),
        (("--space", "alpha=2..1"), "--space alpha=2..1: the range is empty"),
        (("--budget", "soon"), "--budget soon: not a duration"),
        (("--budget", "0h"), "--budget 0h: not a duration"),
        (("--confirm", "2", "--space", "alpha=1..2"), "nothing but R-Drop varies"),
        (("--confirm", "2", "--alpha", "0", "--space", "lr=1e-5..1e-4"), "this sweep tunes plain fine-tuning"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_loaded(rdrop, reviews, tiny_model, in_empty_folder, options, message):
    said = rdrop.error("sweep", reviews, "--model", tiny_model, *options)
    assert message in said and said.count("\n") <= 1
    assert not (in_empty_folder / "sweeps").exists()


def test_without_optuna_the_extra_is_named(rdrop, reviews, tiny_model, monkeypatch):
    monkeypatch.setattr("rdrop_cli.core.storage.extras.find_spec", lambda name: None)
    said = rdrop.error("sweep", reviews, "--model", tiny_model)
    assert "a sweep: optuna is not installed. Install it with: pip install 'rdrop-cli[sweep]'" in said


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45 min", 2700), ("10s", 10), ("0.5h", 1800)]
)
def test_durations(text, seconds):
    assert plans.parse_duration(text) == seconds
