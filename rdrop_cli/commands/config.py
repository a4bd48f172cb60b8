"""`rdrop config`: the recipes, what a configuration says, and the schema of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdrop_cli.commands import options
from rdrop_cli.commands.help_pages import Command, Group
from rdrop_cli.terminal.console import Screen

EXAMPLES = """[bold]Examples[/]
rdrop config list                         [dim]# the recipes[/]
rdrop config show starter                 [dim]# every key, its value and meaning[/]
rdrop config schema > rdrop.schema.json   [dim]# for your editor[/]
"""
LIST_EXAMPLES = """[bold]Examples[/]
rdrop config list
rdrop config list --json
"""
SHOW_EXAMPLES = """[bold]Examples[/]
rdrop config show starter                 [dim]# every key, its value and meaning[/]
rdrop config show starter > mine.yaml     [dim]# rdrop train --config mine.yaml[/]
rdrop config show runs/NAME               [dim]# what a run used[/]
"""
SCHEMA_EXAMPLES = """[bold]Examples[/]
rdrop config schema > rdrop.schema.json
"""

config = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode="rich")


@config.callback()
def root() -> None:
    """Show recipes, configurations, and the schema of their keys."""


@config.command("list", cls=Command, epilog=LIST_EXAMPLES)
def list_recipes(
    json_output: options.JsonOption = False, quiet: options.QuietOption = False, debug: options.DebugOption = False
) -> None:
    """List the recipes: configurations that come with rdrop."""
    from rdrop_cli.config import load_config, recipe_folder, recipe_names
    from rdrop_cli.terminal.config_view import recipe_list

    screen = Screen(json_output=json_output, quiet=quiet)
    recipes = []
    for name in recipe_names():
        path, recipe = recipe_folder() / f"{name}.yaml", load_config(name)
        uses = {"model": recipe.model.name, "data": recipe.data.source}
        recipes.append({"name": name, "about": _about(path), **uses, "path": str(path)})
    screen.show(recipe_list(recipes, screen.ui.width))
    screen.say("Use one: rdrop train --config NAME. See all of it: rdrop config show NAME")
    if json_output:
        screen.document({"recipes": recipes})


def _about(path: Path) -> str:
    """The comment that a recipe opens with, without its first line, which is the command that runs it."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


@config.command(cls=Command, epilog=SHOW_EXAMPLES)
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A recipe's name, a YAML file, a run's folder or its name.")
    ],
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Show every key of a configuration: its value and what it is for, as YAML."""
    from rdrop_cli.config import find_config, load_config, load_recorded, recipe_names
    from rdrop_cli.core.runs import layout
    from rdrop_cli.core.storage.files import user_path
    from rdrop_cli.key_reference import changed_keys, key_groups
    from rdrop_cli.terminal.config_view import annotated_yaml

    screen = Screen(json_output=json_output, quiet=quiet)
    recorded = user_path(name) / layout.CONFIG
    if not recorded.is_file() and name not in recipe_names() and (layout.RUNS / name).parent == layout.RUNS:
        recorded = layout.RUNS / name / layout.CONFIG
    is_run = recorded.is_file() and not user_path(name).is_file()
    path = recorded if is_run else find_config(name, option="")
    resolved = load_recorded(path) if is_run else load_config(str(path))
    total = sum(len(group.keys) for group in key_groups())
    changed = len(changed_keys(resolved))
    screen.say(f"# {path}", style="dim")
    marked = ", marked (default: ...)" if changed else ""
    screen.say(f"# Values that differ from the defaults: {changed} of {total}{marked}", style="dim")
    screen.show(annotated_yaml(resolved, screen.ui.width))
    if json_output:
        screen.document(resolved.model_dump())


@config.command(cls=Command, epilog=SCHEMA_EXAMPLES)
def schema(
    json_output: options.JsonOption = False, quiet: options.QuietOption = False, debug: options.DebugOption = False
) -> None:
    """Print the JSON Schema of configuration files, for editors and validators.

    In an editor with the YAML language server (VS Code, Neovim, ...), begin a file with
    # yaml-language-server: $schema=rdrop.schema.json

    Rules that span several keys, such as that micro_batch_size must divide
    batch_size, are checked by rdrop alone.
    """
    from rdrop_cli.key_reference import json_schema

    Screen(json_output=json_output, quiet=quiet).document(json_schema(), indent=2)
