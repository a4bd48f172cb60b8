"""A configuration as annotated YAML."""

import pytest

from rdrop_cli.config import load_config
from rdrop_cli.key_reference import key_groups
from rdrop_cli.strict_yaml import parse_yaml
from rdrop_cli.terminal.config_view import annotated_yaml

ODD = [
    ("data.label_names", ["\x1b[31mred", "2e-5", "[bold]x[/]", "\u202e", *(f"class {number}" for number in range(20))]),
    ("model.config", {"hidden_dropout_prob": 0.2, "a # b": None}),
    ("model.name", "folder/" * 10 + "model"),
    ("data.label_map", {"pos": "positive: yes"}),
]  # fmt: skip


@pytest.mark.parametrize("overrides", [[], ODD])
@pytest.mark.parametrize("width", [40, 80, 120])
def test_it_reads_back_as_the_same_configuration_at_every_width(overrides, width):
    config = load_config("imdb-roberta", overrides)
    text = annotated_yaml(config, width).plain
    assert all(line.isprintable() for line in text.split("\n"))
    assert parse_yaml(text, "here") == config.model_dump()


@pytest.mark.parametrize("width", [80, 120])
def test_every_line_fits_and_every_description_is_whole(width):
    text = annotated_yaml(load_config("imdb-roberta"), width).plain
    assert max(map(len, text.split("\n"))) <= width
    comments = " ".join(line.partition("# ")[2] for line in text.split("\n") if "#" in line)
    for group in key_groups():
        assert all(described.doc in comments for described in (group, *group.keys))


def test_comments_stand_in_one_column():
    lines = annotated_yaml(load_config("starter"), 120).plain.split("\n")
    assert {line.index("#") for line in lines if "#" in line and not line.strip().startswith("#")} == {34}


def test_values_that_differ_from_the_default_say_what_it_is():
    lines = annotated_yaml(load_config("starter", [("train.lr", 3e-5)]), 120).plain.split("\n")
    marked = [line.split(":")[0].strip() for line in lines if "# (default: " in line]
    assert marked == ["lr", "log_steps"]
    assert "(default: 0.0001) Learning rate" in next(line for line in lines if " lr:" in line)
