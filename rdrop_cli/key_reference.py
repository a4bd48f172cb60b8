"""What the schema says about each key, for people (`rdrop config show`, the documentation) and for editors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from rdrop_cli.schema import Config
from rdrop_cli.strict_yaml import ConfigDumper

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NO_REAL_LIMIT = 2**31
"""Upper limits from here on only keep numbers within an integer's bits; nobody needs to read them."""
_TYPES = {
    "integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "null",
    "object": "mapping",
}  # fmt: skip
_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


@dataclass(frozen=True)
class Key:
    """A key of the configuration.

    Attributes:
        name: Dotted, such as train.lr.
        type: In words, such as `number > 0`.
        doc: One line: what it is for.
    """

    name: str
    type: str
    default: Any
    doc: str

    @property
    def leaf(self) -> str:
        """The name within its group."""
        return self.name.rpartition(".")[2]

    def value_in(self, config: Config) -> Any:
        """Its value in a configuration."""
        value: Any = config
        for part in self.name.split("."):
            value = getattr(value, part)
        return value


@dataclass(frozen=True)
class KeyGroup:
    """Keys that share the first part of their names.

    Attributes:
        name: Dotted, such as train.early_stopping.
        doc: One line: what they are about.
        keys: Its own, without those of a group within it, which is a group of its own.
    """

    name: str
    doc: str
    keys: tuple[Key, ...]


def key_groups() -> list[KeyGroup]:
    """Every key of the schema, in its groups; a group within another comes right after it."""
    schema = Config.model_json_schema()
    return list(_groups("", schema, schema["$defs"], Config().model_dump()))


def changed_keys(config: Config) -> list[Key]:
    """The keys whose values are not the defaults."""
    return [key for group in key_groups() for key in group.keys if key.value_in(config) != key.default]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors and other validators.

    Rules that span several keys, such as that micro_batch_size must divide batch_size, are not in it.
    """
    return {"$schema": _DIALECT, **Config.model_json_schema(), "title": "rdrop configuration"}


def yaml_value(value: Any) -> str:
    """A value on one line as YAML that rdrop reads back; what could act on a terminal is escaped."""
    text = _dump(value, ConfigDumper, allow_unicode=True)
    return text if text.isprintable() else _dump(value, _EscapingDumper, allow_unicode=False)


class _EscapingDumper(ConfigDumper):
    """Quotes what is not printable, as only quoted text can have escapes, of line ends too."""


_EscapingDumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"'
    ),
)


def _dump(value: Any, dumper: type[ConfigDumper], *, allow_unicode: bool) -> str:
    text: str = yaml.dump(
        value,
        Dumper=dumper,
        default_flow_style=True,
        sort_keys=False,
        width=float("inf"),
        allow_unicode=allow_unicode,
    )
    return text.removesuffix("\n").removesuffix("\n...")  # the end of a document that is one bare value


def _groups(
    prefix: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[KeyGroup]:
    keys, inner = [], []
    for name, described in schema["properties"].items():
        dotted = f"{prefix}{name}"
        if "$ref" in described:
            inner.append((name, definitions[described["$ref"].rpartition("/")[2]]))
        else:
            keys.append(Key(dotted, _in_words(described), defaults[name], described.get("description", "")))
    if keys:
        yield KeyGroup(prefix.removesuffix("."), schema.get("description", ""), tuple(keys))
    for name, group in inner:
        yield from _groups(f"{prefix}{name}.", group, definitions, defaults[name])


def _in_words(schema: Mapping[str, Any]) -> str:
    """A JSON Schema of one value in words."""
    if "anyOf" in schema:
        *others, last = (_in_words(choice) for choice in schema["anyOf"])
        return f"{', '.join(others)} or {last}"
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if schema["type"] == "array":
        return f"list ({schema['minItems']} or more)" if "minItems" in schema else "list"
    limits = [
        f"{sign} {schema[bound]:g}"
        for bound, sign in _BOUNDS.items()
        if schema.get(bound, _NO_REAL_LIMIT) < _NO_REAL_LIMIT
    ]
    return " ".join([_TYPES[schema["type"]], " and ".join(limits)]).strip()
