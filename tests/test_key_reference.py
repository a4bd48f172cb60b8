"""What is said about each key, and the JSON Schema, which another validator reads."""

import pytest
from jsonschema import Draft202012Validator

from rdrop_cli.config import dotted_keys, load_config, recipe_folder, recipe_names
from rdrop_cli.errors import ConfigError
from rdrop_cli.key_reference import changed_keys, json_schema, key_groups, yaml_value
from rdrop_cli.strict_yaml import parse_yaml

GROUPS = key_groups()
KEYS = {key.name: key for group in GROUPS for key in group.keys}


def is_valid(tree):
    return Draft202012Validator(json_schema()).is_valid(tree)


def test_every_key_is_there_once_in_the_group_that_its_name_says():
    assert sorted(KEYS) == sorted(dotted_keys())
    assert all(key.name == f"{group.name}.{key.leaf}" for group in GROUPS for key in group.keys)


@pytest.mark.parametrize("described", [*GROUPS, *KEYS.values()], ids=lambda described: described.name)
def test_every_key_and_group_has_a_description_of_one_line(described):
    assert described.doc.endswith(".") and "\n" not in described.doc


@pytest.mark.parametrize("key", [key for key in KEYS.values() if "null" in key.type], ids=lambda key: key.name)
def test_what_null_means_is_said(key):
    assert "null: " in key.doc


@pytest.mark.parametrize(
    ("name", "type_in_words", "default"),
    [
        ("data.label_names", "list (2 or more) or null", "null"),
        ("data.label_map", "mapping", "{}"),
        ("data.validation", "number >= 0 and < 1", "0.1"),
        ("data.seed", "integer >= 0", "42"),
        ("train.lr", "number > 0", "0.0001"),
        ("train.micro_batch_size", "integer >= 1, auto or null", "null"),
        ("train.num_workers", "integer >= 0 and <= 256", "0"),
        ("train.schedule", "one of cosine, linear, constant", "cosine"),
        ("train.fast", "true or false", "true"),
        ("hub.endpoint", "text or null", "null"),
    ],
)
def test_types_are_in_words(name, type_in_words, default):
    assert (KEYS[name].type, yaml_value(KEYS[name].default)) == (type_in_words, default)


def test_changed_keys_are_those_that_are_not_the_default():
    config = load_config("starter", [("train.early_stopping.patience", 0), ("train.lr", 1e-4)])
    assert [key.name for key in changed_keys(config)] == ["train.log_steps", "train.early_stopping.patience"]


def test_the_schema_is_one():
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid_under_the_schema_as_it_is_written_and_as_it_is_resolved(name):
    path = recipe_folder() / f"{name}.yaml"
    assert is_valid(parse_yaml(path.read_text(encoding="utf-8"), name))
    assert is_valid(load_config(name).model_dump())


@pytest.mark.parametrize(
    "text",
    [
        "train: {micro_batch_size: auto, device: 'cuda:1', lr: 1}",
        "data: {label_map: {pos: 1, neg: 0}, label_names: [a, b]}",
        "train: {class_weights: {ham: 1, spam: 5.5}}",
        "train: {class_weights: balanced}",
        "model: {config: {hidden_dropout_prob: 0.2, use_cache: false, pad: null}}",
        "{}",
    ],
)
def test_what_rdrop_takes_the_schema_takes(text, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    load_config(str(tmp_path / "c.yaml"))
    assert is_valid(parse_yaml(text, "here"))


@pytest.mark.parametrize(
    "text",
    [
        "train: {rate: 1}",
        "trian: {}",
        "train: {lr: 0}",
        "train: {lr: fast}",
        "train: {device: gpu}",
        "train: {micro_batch_size: 0}",
        "train: {schedule: step}",
        "train: {fast: 1}",
        "train: {class_weights: {ham: 1, spam: 0}}",
        "train: {class_weights: {}}",
        "train: {class_weights: even}",
        "data: {label_names: [a]}",
        "data: {test: 1.0}",
        "model: {name: ''}",
        "model:",
    ],
)
def test_what_rdrop_refuses_the_schema_refuses(text, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_config(str(tmp_path / "c.yaml"))
    assert not is_valid(parse_yaml(text, "here"))


@pytest.mark.parametrize(
    "value",
    [
        *("plain", "", "2e-5", "1", "true", "null", "a: b", "# x", "[x]", "two words " * 50, "评论 👍"),
        *("\u202ex", "\x1b[31m", "a\nb", "👍\n", "\t"),
        *(2e-5, 0.1, 1, True, None, {}, {"pos": "positive", "1": "x: y"}, ["World", "Sci/Tech", "\u2028"]),
    ],
    ids=repr,
)  # fmt: skip
def test_a_value_is_one_printable_line_that_reads_back_as_itself(value):
    assert yaml_value(value).isprintable()
    assert parse_yaml(f"key: {yaml_value(value)}  # doc", "here") == {"key": value}
