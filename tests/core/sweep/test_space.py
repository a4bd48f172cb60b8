"""Search spaces: what can be written, and what is refused."""

import pytest

from rdrop_cli.config import load_config
from rdrop_cli.core.sweep.space import Choices, Range, as_settings, default_space, parse_space
from rdrop_cli.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("alpha=0.1..20:log", "rdrop.alpha", Range(0.1, 20.0, log=True)),
        ("alpha=1..20", "rdrop.alpha", Range(1, 20)),  # fractions too
        ("lr=1e-5..1e-3:log", "train.lr", Range(1e-5, 1e-3, log=True)),
        ("epochs=1..4", "train.epochs", Range(1, 4, is_whole=True)),
        ("model.config.num_hidden_layers=2..6", "model.config.num_hidden_layers", Range(2, 6, is_whole=True)),
        ("dropout=0..0.3", "dropout", Range(0, 0.3)),
        ("label_smoothing=0,0.1,0.2", "train.label_smoothing", Choices((0, 0.1, 0.2))),
        ("train.schedule=[cosine, linear]", "train.schedule", Choices(("cosine", "linear"))),
        ("alpha=5", "rdrop.alpha", Choices((5,))),
    ],
)
def test_a_dimension_is_a_range_or_choices(text, key, expected):
    assert parse_space([text], load_config()) == {key: expected}


def test_without_options_alpha_dropout_smoothing_learning_rate_and_epochs_vary():
    config = load_config()
    assert parse_space([], config) == default_space(config)
    assert list(default_space(config)) == [
        "rdrop.alpha", "dropout", "train.label_smoothing", "train.lr", "train.epochs",
    ]  # fmt: skip


def test_default_is_a_start_that_other_options_change():
    space = parse_space(["default", "epochs=3"], load_config())
    assert space["train.epochs"] == Choices((3,)) and "dropout" in space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alhpa=1..2", r"unknown key alhpa \(did you mean alpha\?\)"),
        ("train.lrr=1..2", r"unknown key train.lrr \(did you mean train.lr\?\)"),
        ("alpha=5..1", "the range is empty"),
        ("alpha=1..1", "the range is empty"),
        ("alpha=0..1:log", "must begin above 0"),
        ("alpha=low..high", "not a range of numbers"),
        ("alpha=1..inf", "not a range of numbers"),
        ("alpha", "expected KEY=LOW..HIGH"),
        ("alpha=", "expected KEY=LOW..HIGH"),
        ("alpha=-1..5", "rdrop.alpha should be greater than or equal to 0"),
        ("train.schedule=cosine,round", "train.schedule should be"),
        ("epochs=1.5..4", "train.epochs should be a valid integer"),
        ("dropout=0.1..1.5", "must be from 0 on and below 1, got 1.5"),
        ("train.seed=1..5", "must be the same for all trials"),
        ("data.validation=0.1,0.2", "must be the same for all trials"),
        ("train.metric=f1,nll", "must be the same for all trials"),
        ("train.class_weights=none,{}", "values must be numbers, words"),
    ],
)
def test_what_cannot_be_varied_is_refused_with_its_option(text, message):
    with pytest.raises(ConfigError, match=message) as error:
        parse_space([text], load_config())
    assert f"--space {text}" in str(error.value)


def test_a_key_is_given_once():
    with pytest.raises(ConfigError, match=r"rdrop\.alpha appears twice"):
        parse_space(["alpha=1..2", "rdrop.alpha=1..3"], load_config())


def test_dropout_sets_every_dropout_of_the_encoder():
    values = {"rdrop.alpha": 1.0, "dropout": 0.2}
    assert as_settings(values, ["hidden_dropout_prob", "attention_probs_dropout_prob"]) == {
        "rdrop.alpha": 1.0,
        "model.config.hidden_dropout_prob": 0.2,
        "model.config.attention_probs_dropout_prob": 0.2,
    }


def test_what_a_dimension_holds():
    assert [Range(1, 8).holds(value) for value in (1, 8.0, 9, "auto", None)] == [True, True, False, False, False]
    assert [Choices(("auto", 2)).holds(value) for value in ("auto", 2, 3, None)] == [True, True, False, False]
    assert not Choices((None, 2)).holds(None)
