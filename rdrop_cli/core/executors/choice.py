"""The place where runs are trained, as `--on` names it. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdrop_cli.errors import ConfigError

if TYPE_CHECKING:
    from rdrop_cli.core.executors.base import Executor

_MOST = 1024


@dataclass(frozen=True)
class Place:
    """Several processes on this machine (`local`), or a Ray cluster.

    Attributes:
        workers: How many processes; None for Ray.
        address: HOST:PORT of the cluster; None: Ray's own choice, RAY_ADDRESS or this machine.
    """

    workers: int | None = None
    address: str | None = None


def parse_place(text: str) -> Place:
    """The place that `--on` names.

    Raises:
        ConfigError: it is neither local:N nor ray[:ADDRESS].
    """
    kind, colon, rest = text.partition(":")
    if kind == "local" and rest.isascii() and rest.isdecimal() and 1 <= int(rest) <= _MOST:
        return Place(workers=int(rest))
    if kind == "local":
        raise ConfigError(f"--on {text}: give the number of processes, from 1 to {_MOST}, as in local:2")
    if kind == "ray" and (rest or not colon):
        return Place(address=rest or None)
    raise ConfigError(f"--on {text}: not a place to train at; use local:N, ray or ray:HOST:PORT")


def make_executor(on: str | None, *, cpus_per_run: int = 1, gpus_per_run: float | None = None) -> Executor:
    """The executor for a place. It begins nothing: `open` does.

    Args:
        on: As `--on` names it; None: this process.
        cpus_per_run: CPUs that each run has on a Ray cluster.
        gpus_per_run: GPUs that each run has there, or the share of one; None: one if the cluster has GPUs.

    Raises:
        ConfigError: there is no such place, or CPUs and GPUs are given for another one than Ray.
    """
    place = parse_place(on) if on is not None else None
    if (cpus_per_run != 1 or gpus_per_run is not None) and (place is None or place.workers is not None):
        raise ConfigError("--cpus-per-run and --gpus-per-run are for --on ray only", "Leave them out.")
    if place is None:
        from rdrop_cli.core.executors.in_process import InProcess

        return InProcess()
    if place.workers is not None:
        from rdrop_cli.core.executors.local import LocalWorkers

        return LocalWorkers(place.workers)
    from rdrop_cli.core.executors.on_ray import RayTasks

    return RayTasks(place.address, cpus_per_run, gpus_per_run)
