"""What a sweep is to do, checked before anything heavy is imported; and the record that its folder keeps of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.config import dump_config, override, validate
from rdrop_cli.core.comparison.grid import default_folder
from rdrop_cli.core.metrics.classification import LOWER_IS_BETTER
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.resolve import check_configuration
from rdrop_cli.core.runs.trackers import check_trackers
from rdrop_cli.core.storage import extras
from rdrop_cli.core.storage.files import is_leftover, write_text
from rdrop_cli.core.storage.lock import LOCK
from rdrop_cli.core.sweep.space import parse_space
from rdrop_cli.errors import CheckpointError, ConfigError
from rdrop_cli.schema import RDropConfig
from rdrop_cli.strict_yaml import parse_yaml

if TYPE_CHECKING:
    from rdrop_cli.core.sweep.space import Dimension
    from rdrop_cli.schema import Config

SWEEPS, RECORD = Path("sweeps"), "sweep.json"
RDROP, PLAIN, CONFIRM = "rdrop", "plain", "confirm"
"""The searches, and the comparison of what they found; each has a folder of its own."""
_ALPHA = "rdrop.alpha"
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:h|min|m|s)\s*)+")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(h|min|m|s)")


@dataclass(frozen=True)
class Search:
    """One space that is searched.

    Attributes:
        name: Also the name of its folder.
        config: The configuration whose other settings all trials share.
    """

    name: str
    folder: Path
    config: Config
    space: Mapping[str, Dimension]


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep is to do.

    Attributes:
        searches: The one asked for; with `confirm`, before it that of plain fine-tuning.
        trials: How many each search makes; None: as many as fit into `seconds`.
        seconds: Training time after which a search begins no new trial; None: no limit.
        seeds: Of each trial's runs.
        confirm: How many fresh seeds the winners are trained with; 0: they are not compared.
    """

    folder: Path
    searches: Sequence[Search]
    trials: int | None
    seconds: float | None
    seeds: Sequence[int]
    confirm: int

    @property
    def metric(self) -> str:
        """The validation metric that trials are judged by."""
        return str(self.searches[0].config.train.metric)

    @property
    def maximizes(self) -> bool:
        """True if a higher metric is better."""
        return self.metric not in LOWER_IS_BETTER


def parse_duration(text: str) -> float:
    """Seconds, from the text of --budget such as `2h`, `90m` or `1h30m`.

    Raises:
        ConfigError: it is no duration.
    """
    if not _DURATION.fullmatch(text.strip()) or not (
        seconds := sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(text))
    ):
        raise ConfigError(f"--budget {text}: not a duration", "For example 2h, 90m or 1h30m.")
    return seconds


def plan_sweep(
    config: Config,
    space: Sequence[str] = (),
    *,
    trials: int | None = None,
    seconds: float | None = None,
    seeds: int = 5,
    confirm: int = 0,
    folder: Path | None = None,
) -> SweepPlan:
    """Plan a sweep, and check what can be checked before anything heavy is imported.

    Args:
        space: As `parse_space` takes it.
        trials: How many trials; None: as many as `seconds` allow.
        seeds: Runs for each trial, with seeds from the configuration's on.
        confirm: How many fresh seeds to compare the winner with, and with it a winner of plain fine-tuning.
        folder: The sweep's folder; None: one under sweeps/, named after data and model.

    Raises:
        ConfigError: the space or a setting is invalid, Optuna is missing, or the folder holds another sweep.
        DataError, ModelError, HubError: the data or the model is missing.
        CheckpointError: the folder contains something else.
    """
    extras.SWEEP.require("a sweep")
    config = check_configuration(config)
    check_trackers(config.train.report_to)
    folder = folder or SWEEPS / default_folder(config).name
    first = config.train.seed
    override(config, {"train.seed": first + seeds + confirm}, "--seeds-per-trial")
    wanted = parse_space(space, config)
    is_plain = _ALPHA not in wanted and config.rdrop.alpha == 0
    name = PLAIN if is_plain else RDROP
    searches = [Search(name, folder / name, config, wanted)]
    if confirm:
        if is_plain:
            raise ConfigError(
                "--confirm: this sweep tunes plain fine-tuning, with which it would be compared", "Omit it."
            )
        none_of_it = {f"rdrop.{key}": value for key, value in RDropConfig(alpha=0.0).model_dump().items()}
        plain = override(config, none_of_it, "plain fine-tuning")
        without = {key: dimension for key, dimension in wanted.items() if not key.startswith("rdrop.")}
        if not without:
            raise ConfigError(
                "--confirm: nothing but R-Drop varies, so plain fine-tuning cannot be tuned as much",
                "Add another key with --space, such as lr=3e-5..3e-4:log.",
            )
        searches.insert(0, Search(PLAIN, folder / PLAIN, plain, without))
    plan = SweepPlan(folder, searches, trials, seconds, range(first, first + seeds), confirm)
    _check_folder(plan)
    return plan


def save_record(plan: SweepPlan) -> None:
    """Write the settings of a sweep to its folder, so that a resumed one is known to be the same.

    Searches that the folder holds besides those of the plan are kept.

    Raises:
        StorageError: it cannot be written.
    """
    path, record = plan.folder / RECORD, _record(plan)
    if path.is_file():
        record["searches"] = {**layout.read_json(path)["searches"], **record["searches"]}
    write_text(path, json.dumps(record, indent=2) + "\n")


def _record(plan: SweepPlan) -> dict[str, Any]:
    """The settings that may not change. Searches can be added, and trials, and time."""
    return {
        "metric": plan.metric,
        "seeds": list(plan.seeds),
        "searches": {
            each.name: {
                "space": {key: str(dimension) for key, dimension in each.space.items()},
                "config": dump_config(each.config),
            }
            for each in plan.searches
        },
    }


def _check_folder(plan: SweepPlan) -> None:
    path, folder = plan.folder / RECORD, plan.folder
    if not path.is_file():
        if folder.is_dir() and (other := [p.name for p in folder.iterdir() if p.name != LOCK and not is_leftover(p)]):
            raise CheckpointError(f"{folder}: contains {sorted(other)[0]} but no sweep", "Give another --out.")
        return
    recorded, wanted = layout.read_json(path), _record(plan)
    searches = recorded.get("searches")
    if not isinstance(searches, dict):
        raise CheckpointError(f"{path}: damaged", "Restore it, or give another --out.")
    changed = [key for key in ("metric", "seeds") if recorded.get(key) != wanted[key]]
    for name, search in wanted["searches"].items():
        earlier = searches.get(name)
        if earlier is None:
            continue
        if earlier.get("space") != search["space"]:
            changed.append(f"space of {name}")
        # As configurations, since that of an earlier version has fewer keys.
        if validate(parse_yaml(str(earlier.get("config")), str(path)), str(path)) != validate(
            parse_yaml(search["config"], name), name
        ):
            changed.append(f"config of {name}")
    if changed:
        raise ConfigError(
            f"{folder}: this sweep began with other settings ({', '.join(changed)})",
            "Repeat the command that began it, or give another --out.",
        )
