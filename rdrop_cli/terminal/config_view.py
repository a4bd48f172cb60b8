"""The recipes, and a configuration as YAML that can be pasted into a file, with what each key is for beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from rdrop_cli.key_reference import Key, key_groups, yaml_value
from rdrop_cli.terminal.console import safe

if TYPE_CHECKING:
    from rdrop_cli.schema import Config

_COLUMN = 34
"""Where the comments begin: behind the longest key with a value of usual length."""
_NARROWEST = 30
"""Characters of a comment's line, however narrow the terminal is."""


def recipe_list(recipes: Iterable[Mapping[str, str]], width: int) -> Text:
    """Each recipe's name, and below it what it is, its model and data, and its file."""
    shown = Text()
    for recipe in recipes:
        shown.append(f"{recipe['name']}\n", style="bold")
        for line in textwrap.wrap(safe(recipe["about"]), max(width, _NARROWEST) - 2, break_on_hyphens=False):
            shown.append(f"  {line}\n")
        shown.append(f"  model {recipe['model']}, data {recipe['data']}\n")
        shown.append(f"  {safe(recipe['path'])}\n", style="dim")
    return shown


def annotated_yaml(config: Config, width: int) -> Text:
    """Every key with its value and its description; values that differ from the default are bold and say so.

    Args:
        width: Characters of a line, which only values that are longer themselves exceed.
    """
    shown = Text()
    for group in key_groups():
        *outer, name = group.name.split(".")
        indent = "  " * len(outer)
        shown.append("\n" if shown and not outer else "")
        for line in _wrap(group.doc, width - len(indent)):
            shown.append(f"{indent}{line}\n", style="dim")
        shown.append(f"{indent}{name}:\n")
        for key in group.keys:
            for text, style in _lines(key, key.value_in(config), f"{indent}  ", width):
                shown.append(text, style=style)
    shown.rstrip()
    return shown


def _lines(key: Key, value: Any, indent: str, width: int) -> Iterator[tuple[str, str]]:
    """Pieces of text with their styles."""
    is_changed = value != key.default
    setting = f"{indent}{key.leaf}: {yaml_value(value)}"
    doc = f"(default: {yaml_value(key.default)}) {key.doc}" if is_changed else key.doc
    style = "bold" if is_changed else ""
    if len(setting) >= _COLUMN - 1:  # no room beside it
        for line in _wrap(doc, width - len(indent)):
            yield f"{indent}{line}\n", "dim"
        yield f"{setting}\n", style
        return
    first, *others = _wrap(doc, width - _COLUMN)
    yield setting.ljust(_COLUMN), style
    yield f"{first}\n", "dim"
    for line in others:
        yield f"{' ' * _COLUMN}{line}\n", "dim"


def _wrap(doc: str, width: int) -> list[str]:
    lines = textwrap.wrap(doc, max(width, _NARROWEST) - 2, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in lines]
