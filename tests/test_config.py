"""One strict schema: every fault at once, with its key."""

import pytest

from rdrop_cli import config
from rdrop_cli.config import (
    differences,
    dump_config,
    load_config,
    parse_assignment,
    parse_micro_batch,
    recipe_folder,
    recipe_names,
)
from rdrop_cli.errors import ConfigError
from rdrop_cli.schema import Config


@pytest.fixture
def write(tmp_path):
    def to(text):
        path = tmp_path / "c.yaml"
        path.write_text(text)
        return str(path)

    return to


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_opens_with_the_command_that_runs_it(name):
    load_config(name)
    first = (recipe_folder() / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# rdrop train")


def test_the_reference_recipe_is_what_it_says():
    recipe = load_config("imdb-roberta")
    assert recipe.model.name == "FacebookAI/roberta-base"
    assert recipe.data.source == "stanfordnlp/imdb"
    assert (recipe.model.max_length, recipe.rdrop.alpha, recipe.train.label_smoothing) == (512, 5.0, 0.1)
    train = recipe.train
    assert (train.epochs, train.batch_size, train.lr, train.weight_decay, train.warmup) == (5, 16, 2e-5, 0.01, 0.1)
    assert (train.schedule, train.metric, train.seed, train.keep_checkpoints) == ("cosine", "f1", 42, 2)
    assert (train.early_stopping.patience, train.early_stopping.threshold, train.log_steps) == (3, 0.01, 50)


def test_flags_win_over_the_file_and_the_file_over_defaults(write):
    path = write("train: {lr: 3e-5, epochs: 7}")
    loaded = load_config(path, [("train.epochs", 2)])
    assert (loaded.train.lr, loaded.train.epochs, loaded.train.batch_size) == (3e-5, 2, Config().train.batch_size)


def test_every_fault_is_reported_at_once(write):
    path = write("train: {lr: fast, epochs: 0}\nrdrop: {alhpa: 5}\nmodell: {}\n")
    with pytest.raises(ConfigError) as error:
        load_config(path)
    for part in (
        "train.lr should be a valid number, got 'fast'",
        "train.epochs should be greater than or equal to 1, got 0",
        "unknown key rdrop.alhpa (did you mean rdrop.alpha?)",
        "unknown key modell",
    ):
        assert part in str(error.value)
    assert path in str(error.value)


@pytest.mark.parametrize(
    ("key", "ours"),
    [("train.learning_rate", "train.lr"), ("num_train_epochs", "train.epochs")],
)
def test_an_unknown_key_is_answered_with_the_one_that_is_meant(key, ours):
    with pytest.raises(ConfigError, match=rf"unknown key {key} \(did you mean {ours}\?\)"):
        load_config(None, [(key, 1)])


def test_the_names_of_other_scripts_lead_to_keys():
    assert set(config._USUAL_NAMES.values()) <= set(config.dotted_keys())


def test_a_fault_on_the_command_line_is_not_laid_to_the_file():
    with pytest.raises(ConfigError, match=r"^command line: rdrop.alpha should be greater"):
        load_config(None, [("rdrop.alpha", -1.0)])


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("data: reviews.csv", [("data.text_column", "body")], "yaml: data should be a group of keys with values"),
        (
            "train: {early_stopping: 3}",
            [("train.early_stopping.patience", 0)],
            "early_stopping should be a group of keys",
        ),
        ("", [("data", "reviews.csv"), ("data.text_column", "body")], r"command line: data .*got 'reviews\.csv'"),
    ],
)
def test_an_override_does_not_hide_a_group_that_has_a_value_instead_of_keys(write, text, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(text), overrides)


def test_weights_one_by_one_replace_the_word_for_all():
    weights = [("train.class_weights", "balanced"), ("train.class_weights.ham", 1), ("train.class_weights.spam", 5)]
    assert load_config(None, weights).train.class_weights == {"ham": 1, "spam": 5}


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "5", True, None])
def test_alpha_is_a_finite_number(value):
    with pytest.raises(ConfigError, match=r"rdrop\.alpha"):
        load_config(None, [("rdrop.alpha", value)])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("balance", "must be none, balanced, or a weight for each class, such as {ham: 1, spam: 5}, got 'balance'"),
        (None, "must be none, balanced, or a weight for each class"),
        ({}, "must be none, balanced, or a weight for each class"),
        ({"ham": 1, "spam": 0}, "must have weights that are numbers above 0"),
        ({"ham": 1, "spam": -2.0}, "must have weights that are numbers above 0"),
        ({"ham": 1, "spam": float("inf")}, "must have weights that are numbers above 0"),
        ({"ham": 1, "spam": float("nan")}, "must have weights that are numbers above 0"),
        ({"ham": 1, "spam": 10**400}, "must have weights that are numbers above 0"),
        ({"ham": 1, "spam": "5"}, "must have weights that are numbers above 0"),
        ({"ham": 1, "spam": True}, "must have weights that are numbers above 0"),
        ({True: 1, False: 2}, "needs quotes around names that YAML reads as something else, such as 'yes' or 'null'"),
    ],
)
def test_what_is_no_class_weight_is_one_fault(value, message):
    with pytest.raises(ConfigError) as error:
        load_config(None, [("train.class_weights", value)])
    assert str(error.value).startswith(f"command line: train.class_weights {message}")
    assert ";" not in str(error.value)


def test_class_weights_may_be_for_numbers_and_are_saved_as_they_are(write):
    original = load_config(None, [("train.class_weights", {1: 2, "2": 0.5, "1e5": 3})])
    assert original.train.class_weights == {"1": 2.0, "2": 0.5, "1e5": 3.0}
    assert load_config(write(dump_config(original))) == original
    assert load_config().train.class_weights == "none"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {lr: 1e-5, lr: 2e-5}", "line 1: key 'lr' appears twice"),
        ("- 1", "expected keys with values at the top level"),
        ("a: [", "not valid|expected"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("data: {validation: 0.6, test: 0.5}", "must leave something to train on"),
        ("train: {batch_size: 16, micro_batch_size: 5}", "micro_batch_size 5 must divide batch_size 16"),
    ],
)
def test_files_that_do_not_hold_are_refused(write, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(text))


def test_an_assignment_is_typed_as_yaml_types_it():
    pairs = ("train.lr=3e-5", "train.tensorboard=false", "model.name=a/b", "train.epochs=3", "model.revision=")
    values = [parse_assignment(text)[1] for text in pairs]
    assert values == [3e-5, False, "a/b", 3, None]
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        parse_assignment("train.lr")


def test_a_saved_configuration_loads_as_itself(write):
    original = load_config("imdb-roberta", [("model.config", {"hidden_dropout_prob": 0.2})])
    assert load_config(write(dump_config(original))) == original


def test_names_that_look_like_numbers_are_saved_as_names(write):
    original = load_config("starter", [("data.label_names", ["1e5", "2.5e-3"]), ("model.revision", "7e10")])
    assert load_config(write(dump_config(original))) == original


def test_differences_are_named():
    assert differences(load_config("starter"), load_config("starter", [("train.lr", 1e-3)])) == [
        "train.lr: 0.0001 -> 0.001"
    ]


def test_an_unknown_recipe_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"Did you mean imdb-roberta\?"):
        load_config("imdb-robert")


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", ""]])
def test_label_names_are_at_least_two_and_differ(names):
    with pytest.raises(ConfigError, match="label_names"):
        load_config(None, [("data.label_names", names)])


def test_a_fault_in_what_a_flag_gives_is_laid_to_the_command_line():
    for key, value in (("train.micro_batch_size", 5), ("rdrop", {"alpha": -1})):
        with pytest.raises(ConfigError, match=r"^command line: "):
            load_config(None, [(key, value)])


@pytest.mark.parametrize(("text", "value"), [(None, None), ("4", 4), ("auto", "auto")])
def test_a_micro_batch_is_a_number_or_auto(text, value):
    assert load_config(None, [("train.micro_batch_size", parse_micro_batch(text))]).train.micro_batch_size == value


@pytest.mark.parametrize("text", ["-1", "--5", "0", "half", "4.0", ""])
def test_any_other_micro_batch_is_refused_once(text):
    with pytest.raises(ConfigError) as raised:
        load_config(None, [("train.micro_batch_size", parse_micro_batch(text))])
    assert raised.value.message.count("train.micro_batch_size") == 1


def test_numbers_are_names_of_classes_too():
    config = load_config("starter", [("data.label_names", [1, 2.5]), ("data.positive_label", 1)])
    assert (config.data.label_names, config.data.positive_label) == (["1", "2.5"], "1")


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ("{}", ["tensorboard"]),
        ("{tensorboard: true}", ["tensorboard"]),
        ("{tensorboard: false}", []),
        ("{tensorboard: false, report_to: [wandb, tensorboard]}", ["wandb"]),
        ("{tensorboard: true, report_to: [mlflow, mlflow]}", ["tensorboard", "mlflow"]),
    ],
)
def test_the_tensorboard_key_of_earlier_versions_is_read_as_before(write, train, expected):
    assert load_config(write(f"train: {train}")).train.report_to == expected


def test_a_tensorboard_key_or_a_tracker_that_is_none_is_refused(write):
    with pytest.raises(ConfigError, match="tensorboard must be true or false, got 'maybe'"):
        load_config(write("train: {tensorboard: maybe}"))
    with pytest.raises(
        ConfigError, match=r"train.report_to.0 should be 'tensorboard', 'wandb' or 'mlflow', got 'clouds'"
    ):
        load_config(write("train: {report_to: [clouds]}"))
