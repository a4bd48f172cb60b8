"""The configuration: loaded from YAML, overridden by flags, checked against the schema, saved with every run.

Precedence, lowest first: defaults, file, `--set`, flags. All faults are reported at once, each with its dotted key.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rdrop_cli.errors import ConfigError
from rdrop_cli.schema import Config
from rdrop_cli.strict_yaml import ConfigDumper, parse_yaml

_SHOWN = 80
"""Most characters of an invalid value to show in a message."""
_MAX_BYTES = 2**20
"""A configuration is about a page long; a larger file is something else."""
_USUAL_NAMES = {
    "learning_rate": "train.lr",
    "num_train_epochs": "train.epochs",
    "per_device_train_batch_size": "train.batch_size",
    "per_device_eval_batch_size": "train.eval_batch_size",
    "warmup_ratio": "train.warmup",
    "lr_scheduler_type": "train.schedule",
    "label_smoothing_factor": "train.label_smoothing",
    "metric_for_best_model": "train.metric",
    "max_seq_length": "model.max_length",
    "model_name_or_path": "model.name",
    "dropout": "rdrop.dropout",
}
"""Our keys for the names that transformers' scripts give them."""
KEYED_BY_DATA = frozenset({"data.label_map", "train.class_weights"})
"""Settings whose own keys come from the data, and may have dots in them: each is one value."""


def parse_micro_batch(text: str | None) -> int | str | None:
    """The value of `--micro-batch`, as a number if it is one; the schema checks it."""
    return int(text) if text is not None and len(text) < 19 and text.removeprefix("-").isdecimal() else text


def recipe_folder() -> Path:
    """The folder of the recipes: inside an installed package, or at the top of a checkout."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "configs"


def recipe_names() -> list[str]:
    """Names that `--config` accepts without a path."""
    return sorted(path.stem for path in recipe_folder().glob("*.yaml"))


def find_config(name: str, option: str = "--config ") -> Path:
    """The file for a recipe's name or a path.

    Args:
        option: Where it was given, for messages.

    Raises:
        ConfigError: there is neither a recipe nor a file of that name.
    """
    recipe = recipe_folder() / f"{name}.yaml"
    if "/" not in name and recipe.is_file():
        return recipe
    path = Path(name)
    with contextlib.suppress(RuntimeError):  # ~NAME without such a user
        path = path.expanduser()
    if path.is_file():
        return path
    near = difflib.get_close_matches(name, recipe_names(), n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Recipes: {', '.join(recipe_names())}; or give a YAML file."
    raise ConfigError(f"{option}{name}: no such recipe or file", hint)


def parse_assignment(text: str, option: str = "--set ") -> tuple[str, Any]:
    """Parse `a.b=value` into a dotted key and a value with the type that YAML gives it.

    Args:
        option: The option that it was given for, for messages.

    Raises:
        ConfigError: there is no `=`, or the value is not valid YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{option}{text}: expected KEY=VALUE", "For example train.lr=3e-5.")
    return key.strip(), parse_yaml(value, f"{option}{key}")


def collect_overrides(flags: Mapping[str, Any], assignments: Iterable[str] | None) -> list[tuple[str, Any]]:
    """`--set` assignments, then the flags that were given (not None), which take precedence."""
    overrides = [parse_assignment(text) for text in assignments or ()]
    return overrides + [(key, value) for key, value in flags.items() if value is not None]


def load_recorded(path: Path, overrides: Iterable[tuple[str, Any]] = ()) -> Config:
    """The configuration that a run recorded; for a run of an earlier version, with the behaviour of that version.

    Raises:
        ConfigError: as in `load_config`.
    """
    written = load_config(str(path))
    earlier: list[tuple[str, Any]] = []
    if "repeats" not in written.data.model_fields_set:
        earlier.append(("data.repeats", "exact"))
    if written.train.schedule == "constant" and "device" not in written.train.model_fields_set:
        earlier.append(("train.warmup", 0.0))  # in earlier versions a constant schedule ignored the warm-up
    if "calibrate" not in written.train.model_fields_set:
        earlier.append(("train.calibrate", "none"))
    return load_config(str(path), [*earlier, *overrides])


def load_config(name: str | None = None, overrides: Iterable[tuple[str, Any]] = ()) -> Config:
    """Load a configuration: defaults, then the named recipe or file, then the overrides.

    Args:
        name: A recipe's name or a YAML file's path; None: `starter`.
        overrides: Dotted keys with their values, applied in order.

    Raises:
        ConfigError: lists every unknown key, wrong type and value out of range in one message.
    """
    path = find_config(name or "starter")
    where = f"{path.name}" if path.parent == recipe_folder() else str(path)
    try:
        if (size := path.stat().st_size) > _MAX_BYTES:
            raise ConfigError(
                f"{path}: {size:,} bytes are too large for a configuration", "If this is your data, omit --config."
            )
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid UTF-8", "Save it as UTF-8.") from error
    tree = parse_yaml(text, where)
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{where}: expected keys with values at the top level", f"Groups: {', '.join(Config.model_fields)}."
        )
    overridden = frozenset(key for key, value in overrides if _assign(tree, key, value))
    return validate(tree, where, overridden=overridden)


def validate(tree: Mapping[str, Any], where: str, *, overridden: frozenset[str] = frozenset()) -> Config:
    """Check a tree of keys against the schema.

    Args:
        where: The file, for messages.
        overridden: Keys that came from the command line instead.

    Raises:
        ConfigError: lists every fault with its dotted key.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        faults: dict[str, list[str]] = {}
        for fault in error.errors():
            dotted = _dotted(fault)
            given = any(f"{key}.".startswith(f"{dotted}.") or dotted.startswith(f"{key}.") for key in overridden)
            origin = "command line" if given else where
            faults.setdefault(origin, []).append(_describe(fault))
        raise ConfigError(
            "; ".join(f"{origin}: {'; '.join(messages)}" for origin, messages in faults.items())
        ) from error


def override(config: Config, changed: Mapping[str, Any], where: str) -> Config:
    """A configuration with some dotted keys changed.

    Args:
        where: What changes them, for messages.

    Raises:
        ConfigError: as in `load_config`.
    """
    tree = config.model_dump()
    for key, value in changed.items():
        _assign(tree, key, value)
    return validate(tree, where)


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML."""
    return yaml.dump(config.model_dump(), Dumper=ConfigDumper, sort_keys=False, allow_unicode=True)


def differences(old: Config, new: Config, *, aside_from: Collection[str] = ()) -> list[str]:
    """The keys whose values differ, as `key: old -> new`."""
    before, after = flatten(old.model_dump()), flatten(new.model_dump())
    keys = [key for key in {**before, **after} if key not in aside_from]
    return [f"{key}: {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key)]


def dotted_keys() -> list[str]:
    """Every key of the schema, dotted."""
    return list(flatten(Config().model_dump()))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of groups as dotted keys with their values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, dict) and value and dotted not in KEYED_BY_DATA:
            flat |= flatten(value, f"{dotted}.")
        else:
            flat[dotted] = value
    return flat


def _assign(tree: dict[str, Any], dotted: str, value: Any) -> bool:
    """Set a key; False, with nothing changed, where its group has a value instead of keys, which is for `validate`."""
    *groups, last = dotted.split(".")
    for depth, group in enumerate(groups, start=1):
        child = tree.get(group)
        if not isinstance(child, dict):
            if child is not None and ".".join(groups[:depth]) not in KEYED_BY_DATA:
                return False
            child = tree[group] = {}
        tree = child
    tree[last] = value
    return True


def _dotted(fault: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in fault["loc"])


def _describe(fault: Mapping[str, Any]) -> str:
    dotted = _dotted(fault)
    if fault["type"] == "extra_forbidden":
        keys = dotted_keys()
        if usual := _USUAL_NAMES.get(dotted.rpartition(".")[2]):
            return f"unknown key {dotted} (did you mean {usual}?)"
        near = difflib.get_close_matches(dotted, keys, n=1, cutoff=0.5) or [
            key for key in keys if key.rpartition(".")[2] == dotted.rpartition(".")[2]
        ]
        return f"unknown key {dotted}" + (f" (did you mean {near[0]}?)" if near else "")
    if fault["type"] == "model_type":
        return f"{dotted or 'configuration'} should be a group of keys with values, got {_short(fault['input'])}"
    message = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ").replace("Input should", "should")
    got = "" if isinstance(fault["input"], dict) else f", got {_short(fault['input'])}"
    return f"{dotted or 'configuration'} {message}{got}"


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print numbers of more than 4,300 digits
        return "a number with thousands of digits"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
