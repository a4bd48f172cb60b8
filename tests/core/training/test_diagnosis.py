"""Warnings about a KL term that does nothing or everything."""

import math

import pytest

from conftest import make_reviews, write_csv
from rdrop_cli.config import load_config
from rdrop_cli.core.training.diagnosis import Bounds, cross_entropy_bounds, diagnose
from rdrop_cli.core.training.observer import Observer
from rdrop_cli.core.training.run import TrainingRun


def rows(*parts):
    return [{"epoch": epoch, "kl_share": share, "ce": ce} for epoch, share, ce in parts]


def finding(*parts, epochs=3, **settings):
    config = load_config("starter", [("train.epochs", epochs), *settings.items()])
    found = diagnose(rows(*parts), config=config, bounds=Bounds(0.2, math.log(2)), dropout_key="hidden_dropout_prob")
    return found and found[0]


def test_only_the_latter_half_of_the_newest_epoch_counts():
    assert finding((1.5, 0.001, 0.5), (2.0, 0.1, 0.4)) is None
    assert finding((1.4, 0.1, 0.5), (1.8, 0.001, 0.4), (2.0, 0.002, 0.4)) == "negligible"
    assert finding((1.8, 0.7, 0.5), (2.0, 0.4, 0.5)) == "dominant"


def test_a_large_share_of_next_to_no_loss_is_nothing_to_warn_of():
    assert finding((1.8, 0.9, 0.22), (2.0, 0.9, 0.21)) is None


def test_the_first_of_several_epochs_is_not_judged():
    assert finding((0.9, 0.0001, 0.69), (1.0, 0.0001, 0.69)) is None
    assert finding((0.9, 0.0001, 0.5), (1.0, 0.0001, 0.5), epochs=1) == "negligible"


def test_a_model_that_learned_nothing_is_not_told_to_raise_alpha():
    assert finding((1.9, 0.001, 0.692), (2.0, 0.001, 0.693)) == "stuck"
    assert finding((1.9, 0.9, 0.692), (2.0, 0.9, 0.70)) == "stuck"


def test_a_model_that_ranks_validation_well_has_learned_something_in_the_end():
    rows = [{"epoch": 2.0, "kl_share": 0.001, "ce": 0.692}]
    config, bounds = load_config("starter"), Bounds(0.2, 0.69)
    for roc_auc, is_stuck in ((0.98, False), (0.55, True), (None, True)):
        history = [*rows, {"epoch": 2.0, "eval_roc_auc": roc_auc}]
        found = diagnose(history, config=config, bounds=bounds, dropout_key="x")
        assert (found is not None) == is_stuck
    assert "is 0.692 nats, and who knows only the class frequencies has 0.690." in found[1]


@pytest.mark.parametrize(("share", "blamed"), [(0.001, False), (0.9, True)])
def test_alpha_is_blamed_for_a_model_that_learned_nothing_only_if_kl_weighs(share, blamed):
    rows = [{"epoch": 2.0, "kl_share": share, "ce": 0.692}]
    _, sentence = diagnose(rows, config=load_config("starter"), bounds=Bounds(0.2, 0.69), dropout_key="x")
    assert ("lower --alpha" in sentence) == blamed
    assert "train longer (--epochs)" in sentence


@pytest.mark.parametrize(("share", "said"), [(0.0031, "KL is only 0.31% of"), (0.0000172, "KL is less than 0.01% of")])
def test_a_share_near_nothing_is_not_shown_as_zero(share, said):
    rows = [{"epoch": 2.0, "kl_share": share, "ce": 0.5}]
    _, sentence = diagnose(rows, config=load_config("starter"), bounds=Bounds(0.2, 0.69), dropout_key="x")
    assert sentence.startswith(said)


def test_without_kl_and_before_alpha_has_its_value_there_is_nothing_to_diagnose():
    little = [(1.9, 0.0001, 0.5), (2.0, 0.0001, 0.5)]
    assert finding(*little) == "negligible"
    assert finding(*little, **{"rdrop.alpha": 0.0, "rdrop.two_passes": True}) is None
    assert finding(*little, **{"rdrop.alpha_warmup": 0.8}) is None
    assert finding(*little, **{"rdrop.alpha_warmup": 0.5}) == "negligible"


def test_plain_training_has_nothing_to_diagnose():
    config = load_config("starter", [("rdrop.alpha", 0.0)])
    assert diagnose([{"epoch": 2.0, "ce": 0.7}], config=config, bounds=Bounds(0.2, 0.69), dropout_key="x") is None


@pytest.mark.parametrize(
    ("labels", "smoothing", "reduction", "expected"),
    [
        ([0, 1], 0.0, "mean", math.log(2)),
        ([0, 1], 0.3, "mean", math.log(2)),
        ([0, 1], 0.0, "sum", 2 * math.log(2)),
        ([0, 0, 0, 1], 0.0, "mean", -0.75 * math.log(0.75) - 0.25 * math.log(0.25)),
        ([0, 0, 0, 1], 0.2, "mean", -0.70 * math.log(0.70) - 0.30 * math.log(0.30)),
        ([1, 1], 0.0, "mean", 0.0),
    ],
)
def test_chance_is_the_entropy_of_the_smoothed_frequencies(labels, smoothing, reduction, expected):
    settings = [("train.label_smoothing", smoothing), ("rdrop.ce_reduction", reduction)]
    assert cross_entropy_bounds(labels, 2, load_config("starter", settings)).chance == pytest.approx(expected)


def test_with_class_weights_chance_knows_the_weighted_frequencies():
    config = load_config("starter", [("train.label_smoothing", 0.0)])
    balanced = cross_entropy_bounds([0] * 9 + [1], 2, config, [10 / 18, 5.0])
    assert balanced.chance == pytest.approx(math.log(2))
    assert balanced.perfect == 0.0


@pytest.mark.parametrize(
    ("classes", "smoothing", "reduction", "expected"),
    [
        (2, 0.0, "mean", 0.0),
        (2, 0.1, "mean", -0.95 * math.log(0.95) - 0.05 * math.log(0.05)),
        (4, 0.2, "sum", 2 * (-0.85 * math.log(0.85) - 3 * 0.05 * math.log(0.05))),
    ],
)
def test_a_perfect_model_reaches_the_entropy_of_a_smoothed_label(classes, smoothing, reduction, expected):
    settings = [("train.label_smoothing", smoothing), ("rdrop.ce_reduction", reduction)]
    assert cross_entropy_bounds([0, 1], classes, load_config("starter", settings)).perfect == pytest.approx(expected)


def test_a_model_that_knows_rare_classes_under_heavy_smoothing_is_not_called_stuck():
    config = load_config("starter", [("train.label_smoothing", 0.3)])
    bounds = cross_entropy_bounds([0] * 99 + [1], 2, config)
    assert bounds.perfect > 0.95 * bounds.chance
    for ce, expected in ((bounds.perfect * 1.001, None), (bounds.chance, "stuck")):
        rows = [{"epoch": 2.0, "kl_share": 0.1, "ce": ce}]
        found = diagnose(rows, config=config, bounds=bounds, dropout_key="x")
        assert (found and found[0]) == expected


class Notices(Observer):
    def __init__(self):
        self.said = []

    def notice(self, message):
        self.said.append(message)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"rdrop.alpha": 1e-4},
            ["% of the loss, so R-Drop has almost no effect: raise --alpha (now 0.0001), or"],
        ),
        (
            {"rdrop.alpha": 2.0, "rdrop.noise": 1e-5},
            ["% of the loss, so R3F has almost no effect: raise rdrop.noise (now 1e-05)"],
        ),
        ({"rdrop.alpha": 2.0}, []),
        ({"rdrop.alpha": 1000.0}, ["a large alpha can prevent learning: lower --alpha (now 1000)"]),
        ({"rdrop.alpha": 0.0}, []),
    ],
)
def test_a_training_says_once_what_is_wrong(config, tmp_path, settings, said):
    notices = Notices()
    source = str(write_csv(tmp_path / "more.csv", make_reviews(400)))
    overrides = {"data.source": source, "train.epochs": 3, "train.early_stopping.patience": 0, **settings}
    overrides["train.calibrate"] = "none"  # 40 validation examples are too few, which would be said too
    TrainingRun(config(**overrides), tmp_path / "run", observer=notices).start()
    assert len(notices.said) == len(said)
    for found, expected in zip(notices.said, said, strict=True):
        assert expected in found
    if said and settings["rdrop.alpha"] < 1:
        assert "--set model.config.hidden_dropout_prob=0.2" in notices.said[0]
