"""What the README says of the configuration is so."""

import re
from pathlib import Path

import pytest

from rdrop_cli.config import dump_config, load_config, recipe_names

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture
def readme():
    return README.read_text(encoding="utf-8")


def test_the_keys_are_those_of_the_starter(readme):
    (block,) = re.findall(r"```yaml\n(.*?)\n```", readme, flags=re.S)
    assert block == dump_config(load_config("starter")).rstrip()


def test_every_recipe_is_in_the_table(readme):
    assert set(re.findall(r"^\| `([\w-]+)`", readme, flags=re.M)) >= set(recipe_names())


def test_nothing_is_left_to_fill_in(readme):
    assert "@@" not in readme
