"""Which Ray cluster predicts many files, and how many workers it has room for. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdrop_cli.core.executors import ray_capacity
from rdrop_cli.errors import ConfigError

if TYPE_CHECKING:
    from rdrop_cli.core.inference.load_options import LoadOptions


@dataclass(frozen=True)
class Cluster:
    """Which cluster, and what each worker has there.

    Attributes:
        address: HOST:PORT; None: RAY_ADDRESS, else a Ray on this machine.
        cpus: For each worker; also its threads, unless --threads or OMP_NUM_THREADS says how many it has.
        gpus: For each worker, or the share of one; None: one if the cluster has GPUs that the model can use, else none.
    """

    address: str | None = None
    cpus: int = 1
    gpus: float | None = None

    def check(self) -> None:
        """Refuse what no node can have.

        Raises:
            ConfigError: a share of more than one GPU.
        """
        ray_capacity.check_gpus(self.gpus, "--gpus-per-worker")


def parse_cluster(text: str) -> str | None:
    """The address in `ray[:ADDRESS]`; None if there is none.

    Raises:
        ConfigError: the text is something else.
    """
    kind, colon, address = text.partition(":")
    if kind != "ray" or (colon and not address):
        raise ConfigError(f"--on {text}: many files are predicted on ray or ray:HOST:PORT, or here without --on")
    return address or None


def gpus_of_a_worker(cluster: Cluster, load_options: LoadOptions, nodes: Sequence[Mapping[str, float]]) -> float:
    """How many GPUs each worker has.

    Args:
        nodes: The resources of each node, as Ray names them.
    """
    if cluster.gpus is not None:
        return cluster.gpus
    can_use_one = load_options.device != "cpu" and load_options.backend in ("auto", "torch")
    return 1.0 if can_use_one and any(node.get("GPU") for node in nodes) else 0.0


def room_for_workers(cpus: int, gpus: float, nodes: Sequence[Mapping[str, float]]) -> int:
    """How many workers the nodes have room for.

    Args:
        cpus: Of each worker; so are the GPUs.

    Raises:
        ConfigError: for none.
    """
    workers = ray_capacity.room(cpus, gpus, nodes)
    if not workers:
        raise ray_capacity.no_room(cpus, gpus, nodes, "worker")
    return workers
