"""The help of every command, on narrow terminals."""

import re

import pytest
import typer

from rdrop_cli.app import app
from rdrop_cli.commands.help_pages import DATA, EVERYDAY, MACHINE, OUTPUT, TRAINING


def commands(group, path=()):
    """Each command and group with what is typed for it."""
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


ALL = [
    pytest.param(path, command, id=" ".join(("rdrop", *path)))
    for path, command in commands(typer.main.get_command(app))
]


@pytest.fixture
def help_of(rdrop, monkeypatch):
    def lines(path, width):
        monkeypatch.setenv("COLUMNS", str(width))
        return rdrop(*path, "--help").stdout.splitlines()

    return lines


def visible(command):
    return [param for param in command.params if not getattr(param, "hidden", False)]


@pytest.mark.parametrize(("path", "command"), ALL)
@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_option_is_cut(path, command, width, help_of):
    lines = help_of(path, width)
    shown = "\n".join(lines)
    assert "…" not in shown
    assert all(len(line) <= width for line in lines)
    for param in visible(command):
        for name in (*param.opts, *param.secondary_opts):
            if name.startswith("-"):
                assert re.search(rf"(^|[ ,│]){re.escape(name)}($|[ ,])", shown, re.MULTILINE), name


@pytest.mark.parametrize(("path", "command"), ALL)
def test_no_flag_has_a_type(path, command, help_of):
    assert "bool" not in "\n".join(help_of(path, 80))


@pytest.mark.parametrize(("path", "command"), [case for case in ALL if not hasattr(case.values[1], "commands")])
def test_every_option_is_in_a_panel(path, command, help_of):
    titles = [line.split("─ ")[1].split(" ─")[0] for line in help_of(path, 80) if line.startswith("╭")]
    order = ["Arguments", EVERYDAY, DATA, TRAINING, MACHINE, OUTPUT]
    assert titles == [title for title in order if title in titles]
    assert OUTPUT in titles


@pytest.mark.parametrize(("path", "command"), ALL)
def test_at_100_columns_no_option_takes_more_than_two_lines(path, command, help_of):
    rows = [line.strip("│") for line in help_of(path, 100) if line.startswith("│")]
    run = 0
    for row in rows:
        run = run + 1 if row[:12].isspace() else 0
        assert run < 2, row


@pytest.mark.parametrize(("path", "command"), [case for case in ALL if case.values[0]])
def test_examples_are_not_wrapped_at_80_columns(path, command, help_of):
    lines = help_of(path, 80)
    examples = lines[next(index for index, line in enumerate(lines) if line.strip() == "Examples") + 1 :]
    assert all(re.match(r" (cat lines.txt \| )?rdrop ", line) for line in examples if line.strip())


def test_the_commands_are_in_panels(help_of):
    shown = "\n".join(help_of((), 80))
    assert "─ Everyday ─" in shown and "─ Runs and machine ─" in shown
    assert "─ Commands ─" not in shown


@pytest.mark.parametrize(
    "arguments",
    [
        "compare --seeds 0",
        "compare --seeds 1001",
        "evaluate x --batch-size 0",
        "predict x --threads 1025",
        "train --threads 0",
    ],
)
def test_numbers_out_of_range_are_bad_usage(arguments, rdrop):
    error = rdrop.error(*arguments.split(), code=2)
    assert f"'{arguments.split()[-2]}'" in error
    assert "is not allowed, it must be" in error


def test_both_names_of_an_option_are_taken(rdrop):
    for name in ("--micro-batch", "--micro-batch-size"):
        assert "must divide" in rdrop.error("train", "--batch-size", "16", name, "5")
