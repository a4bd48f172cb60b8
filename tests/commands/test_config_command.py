"""`rdrop config` as a user meets it."""

import json
from pathlib import Path

import pytest

from rdrop_cli.config import dotted_keys, load_config, recipe_folder, recipe_names


def test_the_recipes_are_listed_with_what_they_are_and_where(rdrop):
    shown = rdrop("config", "list").stdout
    for name in recipe_names():
        assert f"\n{name}\n" in f"\n{shown}"
        assert str(recipe_folder() / f"{name}.yaml") in shown
    assert "model FacebookAI/roberta-base, data stanfordnlp/imdb" in shown
    assert "no network" in shown
    assert shown.splitlines()[-1].startswith("Use one: rdrop train --config NAME")
    listed = rdrop.json("config", "list")["recipes"]
    assert [recipe["name"] for recipe in listed] == recipe_names()
    assert set(listed[0]) == {"name", "about", "model", "data", "path"}


def test_what_is_shown_of_a_recipe_is_a_file_that_can_be_used(rdrop):
    Path("mine.yaml").write_text(rdrop("config", "show", "imdb-roberta").stdout)
    assert load_config("mine.yaml") == load_config("imdb-roberta")
    again = rdrop("config", "show", "mine.yaml", "--quiet").stdout
    assert again.splitlines()[0] == "# Where the labelled text comes from and how it is split."
    assert load_config("mine.yaml").model_dump() == rdrop.json("config", "show", "mine.yaml")


def test_how_many_values_differ_is_said(rdrop):
    Path("none.yaml").write_text("{}")
    assert (
        f"# Values that differ from the defaults: 0 of {len(dotted_keys())}\n"
        in rdrop("config", "show", "none.yaml").stdout
    )
    Path("one.yaml").write_text("train: {lr: 2e-5}")
    shown = rdrop("config", "show", "one.yaml").stdout
    assert f"# Values that differ from the defaults: 1 of {len(dotted_keys())}, marked (default: ...)\n" in shown
    assert "lr: 2.0e-05" in shown and "# (default: 0.0001) " in shown


def test_a_run_folder_shows_what_the_run_used(rdrop):
    """One of a version that had no data.repeats used exact ones."""
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/config.yaml").write_text("data: {source: reviews.csv}")
    found = rdrop.json("config", "show", "runs/mine")
    assert (found["data"]["source"], found["data"]["repeats"]) == ("reviews.csv", "exact")
    assert rdrop.json("config", "show", "mine") == found


def test_a_run_is_found_by_its_name_only_where_nothing_else_has_it(rdrop):
    for name in ("starter", "mine.yaml"):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "config.yaml").write_text("data: {source: reviews.csv}")
    Path("mine.yaml").write_text("data: {source: others.csv}")
    assert rdrop.json("config", "show", "starter")["data"]["source"] == "rotten-tomatoes"
    assert rdrop.json("config", "show", "mine.yaml")["data"]["source"] == "others.csv"
    assert "no such recipe or file" in rdrop.error("config", "show", "../mine")


def test_what_cannot_be_shown_is_one_line(rdrop):
    assert rdrop.error("config", "show", "imdb-robert") == (
        "error: imdb-robert: no such recipe or file. Did you mean imdb-roberta?"
    )
    Path("bad.yaml").write_text("train: {lr: fast}")
    assert rdrop.error("config", "show", "bad.yaml").startswith("error: bad.yaml: train.lr should be a valid number")
    assert "See: rdrop config --help" in rdrop.error("config", "bogus", code=2)


def test_the_schema_is_one_document_on_stdout_and_its_help_says_how_to_use_it(rdrop):
    done = rdrop("config", "schema")
    assert json.loads(done.stdout)["properties"].keys() == {"data", "model", "rdrop", "train", "hub"}
    assert done.stderr == ""
    assert "# yaml-language-server: $schema=rdrop.schema.json" in rdrop("config", "schema", "--help").stdout


@pytest.mark.parametrize("command", ["list", "show", "schema"])
def test_alone_it_shows_its_commands(rdrop, command):
    assert command in rdrop("config", code=2).stdout
