"""The pages of docs/ say what the program does: commands can be parsed, keys exist, links lead somewhere."""

import re
import sys

import pytest
import typer

import pages
from rdrop_cli.app import app
from rdrop_cli.config import dotted_keys

sys.path.insert(0, str(pages.ROOT / "benchmarks"))
COMMANDS = typer.main.get_command(app).commands
FILES = ("csv", "json", "py", "yaml")
DICTIONARIES = ("model.config", "data.label_map", "train.class_weights")


def by_name(page):
    return page.name


@pytest.mark.parametrize("page", pages.PAGES, ids=by_name)
def test_every_command_has_the_options_it_is_shown_with(page):
    for name, *args in pages.commands_in(page):
        if name.startswith("-"):
            continue
        command = COMMANDS[name]
        while args and args[0] in getattr(command, "commands", ()):
            command, args = command.commands[args[0]], args[1:]
        if args:  # alone it is a command's name in a sentence
            command.make_context(name, list(args))


@pytest.mark.parametrize("page", pages.PAGES, ids=by_name)
def test_every_key_exists(page):
    text = page.read_text(encoding="utf-8")
    for key in re.findall(r"(?<=[`: ,])((?:data|model|rdrop|train|hub)(?:\.[a-z_]+)+)(?=[`=])", text):
        is_file = key.rpartition(".")[2] in FILES
        if not is_file and not key.startswith(DICTIONARIES):
            assert any(known == key or known.startswith(f"{key}.") for known in dotted_keys()), key


@pytest.mark.parametrize("page", pages.PAGES, ids=by_name)
def test_every_link_within_the_repository_leads_to_a_file(page):
    for link in pages.links_in(page):
        target = link.partition("#")[0]
        if target and "://" not in link:
            assert (page.parent / target).is_file(), link


def test_every_page_is_in_the_navigation():
    navigation = (pages.ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in pages.DOCS if page.name not in navigation] == []


def test_the_results_page_is_written_from_the_kept_comparisons():
    import results_page

    assert results_page.PAGE.read_text(encoding="utf-8") == results_page.make_page()


def test_the_python_session_is_that_of_contributing():
    blocks = [
        re.findall(r"^```python\n(.*?)^```", (pages.ROOT / name).read_text(encoding="utf-8"), flags=re.M | re.S)
        for name in ("CONTRIBUTING.md", "docs/python.md")
    ]
    assert (
        blocks[0][-1].split("print(evaluate")[1].replace("runs/mine", "runs/NAME")
        == blocks[1][-1].split("print(evaluate")[1]
    )
