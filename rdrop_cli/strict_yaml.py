"""Reading and writing the YAML of configurations: no objects, no aliases, no repeated keys; 2e-5 is a number."""

from __future__ import annotations

import re
from typing import Any

import yaml

from rdrop_cli.errors import ConfigError


class StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses repeated keys and aliases, and reads 2e-5 as a number (in YAML 1.1 it is a string)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Like the base class, but refuse aliases: a few lines of them can expand to billions of values."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not supported", mark)
        return super().compose_node(parent, index)


class ConfigDumper(yaml.SafeDumper):
    """SafeDumper that quotes a text such as 2e-5, which `StrictLoader` would read as a number."""


def _mapping_without_repeats(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool | None):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} appears twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats)
for _kind in (StrictLoader, ConfigDumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )


def parse_yaml(text: str, where: str) -> Any:
    """Read YAML safely.

    Raises:
        ConfigError: it is not valid YAML, a key is repeated, or a tag would construct an object.
    """
    try:
        return yaml.load(text, Loader=StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{where}{line}: {error.problem or 'not valid YAML'}") from error
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ConfigError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from error
