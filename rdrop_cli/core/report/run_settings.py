"""How a run was made, and how to make it again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rdrop_cli import wording
from rdrop_cli.config import flatten, load_config
from rdrop_cli.core.report.parts import Command, Facts, Section, Table
from rdrop_cli.core.runs import layout
from rdrop_cli.core.storage import shell
from rdrop_cli.errors import ConfigError
from rdrop_cli.strict_yaml import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Collection

    from rdrop_cli.core.report.parts import Block
    from rdrop_cli.core.report.run_documents import RunDocuments
    from rdrop_cli.core.report.view import RunView
    from rdrop_cli.schema import Config


def settings(view: RunView) -> Section:
    """The section about configuration and versions."""
    run = view.run
    blocks: list[Block] = [Facts(_facts(run))]
    missing = []
    if run.config is not None:
        blocks.append(Command(training_command(run.config), "The command that makes this run again"))
        blocks.append(_changed(run.config))
    else:
        missing.append(f"No settings: {run.no(layout.CONFIG)}.")
    if not run.cost:
        missing.append(f"No times and versions: {run.no(layout.COST)}.")
    return Section("settings", "Settings and versions", blocks, missing=missing)


def training_command(config: Config) -> str:
    """The `rdrop train` command of a configuration: only what differs from the default recipe is named."""
    arguments = ["rdrop", "train", config.data.source]
    arguments += ["--alpha", f"{config.rdrop.alpha:g}", "--seed", str(config.train.seed)]
    return shell.join([*arguments, *assignments(config, aside_from=("data.source", "rdrop.alpha", "train.seed"))])


def assignments(config: Config, *, aside_from: Collection[str] = (), base: Config | None = None) -> list[str]:
    """`--set KEY=VALUE` for each key in which a configuration differs from another, usually the default recipe."""
    plain = flatten((base or load_config()).model_dump())
    own = flatten(config.model_dump())
    options = []
    for key, value in own.items():
        if key not in aside_from and plain.get(key) != value:
            options += ["--set", f"{key}={as_yaml(value)}"]
    return options


def as_yaml(value: Any) -> str:
    """A value as `--set` takes it: a text as it is where YAML reads it so, all else as JSON, which is YAML."""
    if isinstance(value, str):
        try:
            if parse_yaml(value, "") == value:
                return value
        except ConfigError:
            pass
    return json.dumps(value, ensure_ascii=False)


def _facts(run: RunDocuments) -> list[tuple[str, str]]:
    cost = run.cost
    rows = []
    versions = cost.get("versions")
    if isinstance(versions, dict):
        rows.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    if cost.get("device"):
        rows.append(("Device", str(cost["device"])))
    if cost.get("seconds") is not None:
        wall = cost.get("wall_seconds")
        whole = f", {wording.duration(wall)} with evaluations and saving" if wall else ""
        rows.append(("Time", f"{wording.duration(cost['seconds'])} of training{whole}"))
    if cost.get("examples_per_second"):
        rows.append(("Speed", f"{cost['examples_per_second']:.0f} examples per second"))
    if cost.get("planned_steps") and cost.get("steps") != cost["planned_steps"]:
        rows.append(("Stopped early", f"after {cost['steps']:,} of {cost['planned_steps']:,} steps"))
    if cost.get("resumed_from_step"):
        rows.append(("Resumed", f"from step {cost['resumed_from_step']:,}"))
    if isinstance(fallbacks := run.record.get("fallbacks"), dict) and fallbacks:
        rows.append(("Did not work here", ", ".join(f"{key} {value}" for key, value in fallbacks.items())))
    rows.append(("Folder", str(run.folder)))
    return rows


def _changed(config: Config) -> Table:
    try:
        plain: dict[str, Any] = flatten(load_config().model_dump())
    except ConfigError:  # an installation without its recipes
        plain = {}
    rows = []
    for key, value in flatten(config.model_dump()).items():
        default = plain.get(key)
        rows.append([key, as_yaml(value), "" if value == default else as_yaml(default)])
    return Table("All settings, with the default where it is another", ["key", "value", "default"], rows, texts=3)
