"""Workers that predict many files: where, how many, and what each has."""

import math

import pytest

from rdrop_cli.core.executors.part_cluster import Cluster, gpus_of_a_worker, parse_cluster, room_for_workers
from rdrop_cli.core.inference.load_options import LoadOptions
from rdrop_cli.errors import ConfigError

NODES = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 3.0}]


def test_a_cluster_is_named_by_its_address():
    assert parse_cluster("ray") is None
    assert parse_cluster("ray:head:6379") == "head:6379"
    for text in ("ray:", "rays", "local:2", ""):
        with pytest.raises(ConfigError, match="many files are predicted on ray or ray:HOST:PORT"):
            parse_cluster(text)


def test_a_worker_has_a_gpu_where_there_are_some_that_the_model_can_use():
    assert gpus_of_a_worker(Cluster(), LoadOptions(), NODES) == 1
    assert gpus_of_a_worker(Cluster(), LoadOptions(), NODES[1:]) == 0
    assert gpus_of_a_worker(Cluster(), LoadOptions(device="cpu"), NODES) == 0
    assert gpus_of_a_worker(Cluster(), LoadOptions(backend="onnx"), NODES) == 0
    assert gpus_of_a_worker(Cluster(gpus=0), LoadOptions(), NODES) == 0
    assert gpus_of_a_worker(Cluster(gpus=0.5), LoadOptions(), NODES) == 0.5


@pytest.mark.parametrize(
    ("cpus", "gpus", "room"), [(1, 0, 11), (2, 0, 5), (1, 1, 2), (1, 0.1, 8), (1, 2, 1), (8, 0.5, 1)]
)
def test_each_node_has_room_for_whole_workers(cpus, gpus, room):
    assert room_for_workers(cpus, gpus, NODES) == room


def test_workers_that_no_node_has_room_for_are_refused():
    with pytest.raises(ConfigError) as refused:
        room_for_workers(9, 0.5, NODES)
    assert str(refused.value) == (
        "--cpus-per-worker 9, --gpus-per-worker 0.5: no node of the Ray cluster has so many (CPUs: 8 at most, GPUs: 2)."
        " Ask for less, or add a larger node."
    )


@pytest.mark.parametrize("gpus", [1.5, math.nan])
def test_a_share_of_more_than_one_gpu_is_refused(gpus):
    with pytest.raises(ConfigError, match="give a whole number, or less than one"):
        Cluster(gpus=gpus).check()
    for allowed in (None, 0, 0.25, 1, 2):
        Cluster(gpus=allowed).check()
