"""Connect to a Ray cluster, or start Ray on this machine, and check that all nodes have the same versions."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from rdrop_cli import threads
from rdrop_cli.core.storage import extras
from rdrop_cli.errors import ConfigError, one_line

_SECONDS = 10.0
"""How long a cluster may take to answer."""
_PROBE = (
    "import ray, sys;ray.init(address=sys.argv[1], include_dashboard=False, log_to_driver=False, logging_level='error')"
)
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else there is a warning
    "RAY_DEDUP_LOGS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
}
"""Ray reads these when it is imported. Even without logs, it prints what happens to nodes to standard output, which may
be that of --json. The last two let it leave out every line."""


def require_ray() -> Any:
    """The module `ray`.

    Raises:
        ConfigError: it is not installed.
    """
    os.environ.update(_QUIET)
    extras.RAY.require("--on ray")
    return importlib.import_module("ray")


def connect(address: str | None) -> None:
    """Connect to a cluster; without an address, to that of RAY_ADDRESS, else start Ray on this machine.

    Args:
        address: HOST:PORT of the cluster's head node, or None.

    Raises:
        ConfigError: the cluster does not answer within ten seconds, has another version of Ray or Python, or this
            machine is no part of it.
    """
    ray = require_ray()
    address = address or os.environ.get("RAY_ADDRESS") or None
    quiet: dict[str, Any] = {
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": True,
    }
    if address is None:
        ray.init(address="local", num_cpus=threads.usable_cores(), **quiet)
        return
    _probe(address)
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _no_cluster(address, one_line(error)) from error


def shutdown() -> None:
    """Disconnect; a Ray that `connect` started ends."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()


def check_versions() -> None:
    """Make sure that all nodes have this process's versions of Python, rdrop, torch and transformers.

    Raises:
        ConfigError: a node has other ones, or does not answer; the message names it.
    """
    ray = require_ray()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    read = _reader()
    own, look = read(), ray.remote(num_cpus=0, max_retries=0)(read)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked = [
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote()
        for node in nodes
    ]
    for node, answer in zip(nodes, asked, strict=True):
        name = node_name(node)
        try:
            versions = ray.get(answer, timeout=60)
        except ray.exceptions.TaskUnschedulableError:  # the node has left the cluster
            continue
        except ray.exceptions.RayError as error:
            raise ConfigError(f"Ray node {name}: its versions cannot be read ({one_line(error)})") from error
        other = [
            f"{package} {versions.get(package) or 'missing'}"
            for package in own
            if versions.get(package) != own[package]
        ]
        if other:
            wanted = ", ".join(f"{package} {own[package]}" for package in own if versions.get(package) != own[package])
            raise ConfigError(
                f"Ray node {name} has {', '.join(other)}, but this machine has {wanted}",
                "Install the same versions on all nodes, since they change the results.",
            )


def node_name(node: dict[str, Any]) -> str:
    """A node of `ray.nodes()`, for display."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}:{node['NodeManagerPort']})"


def _reader() -> Callable[[], dict[str, str | None]]:
    """Reads the versions of a machine that must be the same on all; None: not installed.

    An inner function, which Ray sends as code: it runs on a node that has no rdrop, or another one.
    """

    def read() -> dict[str, str | None]:
        import importlib
        import platform
        from importlib import metadata

        versions: dict[str, str | None] = {"Python": ".".join(platform.python_version_tuple()[:2])}
        try:
            versions["rdrop"] = importlib.import_module("rdrop_cli").__version__
        except ImportError:
            versions["rdrop"] = None
        for name in ("torch", "transformers"):
            try:
                versions[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                versions[name] = None
        return versions

    return read


def _probe(address: str) -> None:
    """Ask for a cluster in a process of its own: Ray itself tries for two minutes and then ends the process."""
    end = time.monotonic() + _SECONDS
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or "/" in host:
        raise ConfigError(
            f"--on ray:{address}: not an address of the form HOST:PORT",
            "Give that of the cluster's head node, as `ray start` shows it, on a machine of the cluster.",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, getattr(error, "strerror", None) or one_line(error)) from error
    command = [sys.executable, "-c", _PROBE, address]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as asking:
        try:
            _, errors = asking.communicate(timeout=max(end - time.monotonic(), 1.0))
        except subprocess.TimeoutExpired as error:
            asking.kill()
            raise _no_cluster(address, f"no answer within {_SECONDS:g} seconds") from error
    if asking.returncode:
        raise _no_cluster(address, _cause(errors))


def _cause(text: str) -> str:
    """The last error of a traceback with the lines that belong to it."""
    lines = text.strip().splitlines()
    starts = [index for index, line in enumerate(lines) if line[:1].isalpha() and "Error: " in line]
    reason = " ".join(" ".join(lines[starts[-1] :]).split()) if starts else (lines or ["no reason was given"])[-1]
    return reason.partition("Error: ")[2] or reason


def _no_cluster(address: str, cause: str) -> ConfigError:
    return ConfigError(
        f"--on ray:{address}: no Ray cluster answers there ({cause.rstrip('.')})",
        "Check the address, as `ray start` shows it, or leave it out to use this machine.",
    )
