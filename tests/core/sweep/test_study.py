"""Optuna's study: the same proposals whether or not it was made anew in between; trials are given up by pairs."""

import random

import pytest

from rdrop_cli.core.sweep.space import Choices, Range
from rdrop_cli.core.sweep.trials import Trial

pytest.importorskip("optuna")
from rdrop_cli.core.sweep.study import JOURNAL, Study

SPACE = {"x": Range(0.1, 20.0, log=True), "kind": Choices(("a", "b")), "n": Range(1, 4, is_whole=True)}
SEEDS = range(5)


def score(values, seed):
    noise = random.Random(f"{sorted(values.items())} {seed}").gauss(0, 0.01)
    return 0.8 - 0.05 * abs(values["x"] - 3) - 0.1 * (values["kind"] == "b") + noise


def search(folder, *, trials, anew):
    """Search; with `anew` the study is made from the trials before each, and within each."""
    folder.mkdir()
    done, study = [], None
    for number in range(trials):
        if study is None or anew:
            study = Study(folder, SPACE, seed=7, maximize=True, trials=done, first={"x": 5.0})
        values, scores, state = study.propose(number), [], "complete"
        for step in SEEDS:
            scores.append(score(values, step))
            study.report(step, scores[-1])
            if anew and step == 2:
                unfinished = Trial(number, folder, values)
                study = Study(folder, SPACE, seed=7, maximize=True, trials=[*done, (unfinished, scores)], first={})
            if step < SEEDS[-1] and study.is_hopeless():
                state = "pruned"
                break
        trial = Trial(number, folder, values, state)
        study.end(trial, scores)
        done.append((trial, scores))
    return done


def test_a_search_that_starts_anew_at_every_point_is_the_same_search(tmp_path):
    whole = search(tmp_path / "whole", trials=14, anew=False)
    broken = search(tmp_path / "broken", trials=14, anew=True)
    assert [(t.values, t.state, scores) for t, scores in whole] == [(t.values, t.state, scores) for t, scores in broken]
    assert len({t.values["x"] for t, _ in whole}) == 14, "a trial was repeated"
    assert whole[0][0].values["x"] == 5.0
    assert {type(t.values["n"]) for t, _ in whole} == {int}


def test_trials_are_given_up_after_four_seeds_that_are_worse_than_the_best_ones(tmp_path):
    done = search(tmp_path / "study", trials=14, anew=False)
    pruned = [scores for trial, scores in done if trial.state == "pruned"]
    assert pruned and all(len(scores) == 4 for scores in pruned)
    best = max(sum(scores) / 5 for trial, scores in done if trial.state == "complete")
    assert all(sum(scores) / 4 < best for scores in pruned)


def test_the_journal_is_what_optuna_reads(tmp_path):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    done = search(tmp_path / "study", trials=3, anew=False)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study" / JOURNAL)))
    study = optuna.load_study(study_name="rdrop", storage=storage)
    assert [trial.params for trial in study.trials] == [dict(trial.values) for trial, _ in done]
