"""How many runs or workers the nodes of a Ray cluster have room for. Imports nothing heavy.

Nodes are given by their resources, as Ray names them: `CPU` and `GPU`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rdrop_cli.errors import ConfigError

_ROUNDING = 1e-9
"""Of shares of a GPU: three thirds are one."""


def check_gpus(gpus: float | None, option: str) -> None:
    """Refuse what no node can give.

    Raises:
        ConfigError: more than one GPU, and not a whole number of them.
    """
    if gpus is not None and not gpus <= 1 and gpus % 1:
        raise ConfigError(f"{option} {gpus:g}: give a whole number, or less than one")


def room(cpus: int, gpus: float, nodes: Sequence[Mapping[str, float]]) -> int:
    """How many runs or workers with so many CPUs and GPUs each the nodes have room for."""
    by_node = [int(node.get("CPU", 0) // cpus) for node in nodes]
    if gpus:
        with_gpus = [int(node.get("GPU", 0) / gpus + _ROUNDING) for node in nodes]
        by_node = [min(each) for each in zip(by_node, with_gpus, strict=True)]
    return sum(by_node)


def no_room(cpus: int, gpus: float, nodes: Sequence[Mapping[str, float]], unit: str) -> ConfigError:
    """The error for nodes without room.

    Args:
        unit: `run` or `worker`, as in the options' names.
    """
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in ("CPU", "GPU")}
    wanted = f"--cpus-per-{unit} {cpus}" + (f", --gpus-per-{unit} {gpus:g}" if gpus else "")
    return ConfigError(
        f"{wanted}: no node of the Ray cluster has so many (CPUs: {most['CPU']:g} at most, GPUs: {most['GPU']:g})",
        "Ask for less, or add a larger node.",
    )
