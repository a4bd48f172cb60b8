"""What the arms of a comparison change, and what they may not."""

import pytest

from rdrop_cli.config import load_config
from rdrop_cli.core.comparison.arms import CLASSIC, make_arms, shown_settings
from rdrop_cli.errors import ConfigError


def arms(names=CLASSIC, own=(), budget="steps", **overrides):
    config = load_config("starter", overrides.items())
    return {arm.name: arm for arm in make_arms(config, names, own, budget)}


def test_the_built_in_arms_switch_smoothing_and_r_drop_on_one_by_one():
    found = arms(**{"rdrop.alpha": 3.0, "train.label_smoothing": 0.2})
    settings = {name: (arm.config.rdrop.alpha, arm.config.train.label_smoothing) for name, arm in found.items()}
    assert settings == {
        "plain": (0.0, 0.0), "smoothing": (0.0, 0.2), "rdrop": (3.0, 0.0), "rdrop+smoothing": (3.0, 0.2),
    }  # fmt: skip
    rest = {arm.config.model_copy(update={"rdrop": None, "train": None}).model_dump_json() for arm in found.values()}
    assert len(rest) == 1


def test_the_rivals_change_one_thing_each_and_share_the_dropout_of_r_drop_where_that_is_the_point():
    names = ["plain", "dropout", "two-pass", "ema", "r3f", "rdrop"]
    found = list(arms(names, **{"rdrop.alpha": 3.0, "rdrop.dropout": 0.2, "train.label_smoothing": 0.0}).values())
    settings = {arm.name: dict(shown_settings(arm, found)) for arm in found}
    plain = {
        "rdrop.alpha": 0.0, "rdrop.two_passes": False, "rdrop.noise": 0.0, "rdrop.dropout": None, "train.ema": 0.0,
        "train.label_smoothing": 0.0,
    }  # fmt: skip
    assert settings["plain"] == plain
    changes = {name: dict(own.items() - plain.items()) for name, own in settings.items()}
    assert changes == {
        "plain": {},
        "dropout": {"rdrop.dropout": 0.2},
        "two-pass": {"rdrop.dropout": 0.2, "rdrop.two_passes": True},
        "ema": {"train.ema": 0.999},
        "r3f": {"rdrop.alpha": 2.0, "rdrop.noise": 1e-5},
        "rdrop": {"rdrop.alpha": 3.0, "rdrop.dropout": 0.2},
    }
    assert {arm.name: arm.passes for arm in found} == {
        "plain": 1, "dropout": 1, "two-pass": 2, "ema": 1, "r3f": 3, "rdrop": 2,
    }  # fmt: skip


def test_r3f_is_the_papers_whatever_r_drop_is_configured_to_be():
    r3f = arms(["plain", "r3f"], **{"rdrop.ce_reduction": "sum", "rdrop.alpha_warmup": 0.3})["r3f"].config.rdrop
    assert (r3f.ce_reduction, r3f.alpha, r3f.alpha_warmup) == ("mean", 2.0, 0.0)


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (["plain", "ema"], {"train.ema": 0.99}, "every arm has averaged weights"),
        (["plain", "dropout"], {}, "rdrop.dropout is null"),
        (["plain", "rdrop"], {"rdrop.noise": 0.1}, "rdrop.noise: the built-in arms have their own"),
    ],
)
def test_an_arm_that_would_be_like_others_is_refused(names, settings, message):
    with pytest.raises(ConfigError, match=message):
        arms(names, **settings)


def test_equal_compute_counts_the_passes_of_each_arm():
    found = arms(["plain", "two-pass", "rdrop", "r3f"], budget="compute", **{"train.epochs": 4})
    assert {name: arm.config.train.epochs for name, arm in found.items()} == {
        "plain-3x": 12, "two-pass-1.5x": 6, "rdrop-1.5x": 6, "r3f": 4,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"arm rdrop would need 4\.5 epochs"):
        arms(["rdrop", "r3f"], budget="compute", **{"train.epochs": 3})


def test_an_arm_of_ones_own_changes_what_it_names_and_nothing_else():
    own = arms(["plain"], ["strong: rdrop.alpha=10, train.lr=2e-5"])["strong"].config
    expected = load_config("starter", [("rdrop.alpha", 10.0), ("train.lr", 2e-5)])
    assert own == expected


def test_an_arm_may_weight_the_classes():
    found = arms(
        ["plain"],
        [
            "even:train.class_weights=balanced",
            "given:train.lr=1e-5,train.class_weights={ham: 1, spam: 5},rdrop.alpha=1",
            "dotted:train.class_weights.ham=1,train.class_weights.spam=5",
        ],
    )
    weights = {name: arm.config.train.class_weights for name, arm in found.items()}
    given = {"ham": 1.0, "spam": 5.0}
    assert weights == {"plain": "none", "even": "balanced", "given": given, "dotted": given}
    assert found["given"].config.rdrop.alpha == 1.0
    assert shown_settings(found["even"], list(found.values()))["train.class_weights"] == "balanced"


def test_twice_the_epochs_go_to_arms_of_one_pass_and_show_in_their_names():
    found = arms(["plain", "rdrop"], ["half:rdrop.alpha=0"], budget="compute", **{"train.epochs": 3})
    assert {name: arm.config.train.epochs for name, arm in found.items()} == {"plain-2x": 6, "rdrop": 3, "half-2x": 6}


def test_what_an_arm_changes_is_told_by_key():
    found = list(arms(["plain", "rdrop+smoothing"]).values())
    assert shown_settings(found[0], found) == {"rdrop.alpha": 0.0, "train.label_smoothing": 0.0}
    assert shown_settings(found[1], found) == {"rdrop.alpha": 5.0, "train.label_smoothing": 0.1}


def test_an_arm_without_a_key_of_the_model_does_not_show_it():
    plain, dropout = arms(["plain"], ["dropout:model.config.mlp_dropout=0.1"]).values()
    assert "model.config.mlp_dropout" not in shown_settings(plain, [plain, dropout])
    assert "model.config" not in shown_settings(plain, [plain, dropout])
    assert shown_settings(dropout, [plain, dropout])["model.config.mlp_dropout"] == 0.1


@pytest.mark.parametrize(
    ("names", "own", "said"),
    [
        (["plain", "rdorp"], [], "--arms rdorp: no such arm. Built in: plain, smoothing, rdrop, rdrop+smoothing"),
        (["plain"], [], "needs at least two arms"),
        (["plain", "plain"], [], "two arms are named plain"),
        (["plain"], ["x:rdrop.alpha=1", "X:rdrop.alpha=1"], "two arms are named x"),
        (["plain"], ["x"], "--arm x: expected NAME:KEY=VALUE"),
        (["plain"], ["../x:rdrop.alpha=1"], "with a name of letters, digits"),
        (["plain"], [".x:rdrop.alpha=1"], "with a name of letters, digits"),
        (["plain"], ["x:rdrop.alpha"], "--arm x:rdrop.alpha: expected KEY=VALUE"),
        (["plain"], ["x:rdrop.alfa=1"], "unknown key rdrop.alfa (did you mean rdrop.alpha?)"),
        (["plain"], ["x:rdrop.alpha=-1"], "rdrop.alpha should be greater than or equal to 0"),
        (["plain"], ["x:rdrop.alpha=1,rdrop.alpha=2"], "rdrop.alpha appears twice"),
        (["plain"], ["x:data.test=0.5"], "data.test must be the same for all arms"),
        (["plain"], ["x:train.seed=1"], "train.seed must be the same for all arms"),
        (["plain"], ["x-2x:rdrop.alpha=1"], "names that end in -2x"),
        (["plain"], ["x:train={metric: nll}"], "--arm x: train is a group of keys"),
        (["plain"], ["x:train.metric=nll"], "train.metric must be the same for all arms"),
        (["plain"], ["rdrop:rdrop.alpha=1"], "--arm rdrop: this name is reserved"),
        (["plain"], ["results.csv:rdrop.alpha=1"], "--arm results.csv: this name is reserved"),
    ],
)
def test_arms_that_do_not_hold_are_refused(names, own, said):
    with pytest.raises(ConfigError) as refused:
        arms(names, own)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        ("rdrop", {"rdrop.alpha": 0.0}, "arm rdrop: rdrop.alpha is 0"),
        ("smoothing", {"train.label_smoothing": 0.0}, "arm smoothing: train.label_smoothing is 0"),
    ],
)
def test_an_arm_that_would_be_another_is_refused(name, overrides, said):
    with pytest.raises(ConfigError) as refused:
        arms(["plain", name], **overrides)
    assert said in str(refused.value)


def test_a_budget_without_effect_is_refused():
    with pytest.raises(ConfigError, match="--budget compute has no effect"):
        arms(["plain", "smoothing"], budget="compute")
