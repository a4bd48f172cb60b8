"""`rdrop compare --on ray`: a cluster of two nodes on this machine, and what can be wrong with one."""

import importlib.util
import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from comparison_runs import Told, is_worker, runs_of
from rdrop_cli.core.data.prepare import prepare_data
from rdrop_cli.core.executors import ray_cluster
from rdrop_cli.core.executors.archive import pack
from rdrop_cli.core.executors.base import Job
from rdrop_cli.core.executors.messages import job_as_text
from rdrop_cli.core.executors.on_ray import RayTasks
from rdrop_cli.core.executors.ray_task import train_job
from rdrop_cli.core.training.run import TrainingRun
from rdrop_cli.errors import ConfigError, TrainingInterrupted
from training_runs import SignalAt

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="sends signals"),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs and a node with one; tests add others."""
    ray_cluster.require_ray()  # sets what Ray reads when it is imported
    from ray.cluster_utils import Cluster

    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": soon}
    made = Cluster(initialize_head=True, head_node_args=head)
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def both_train():
    """The processes that train, when there is one on each of two nodes."""
    end = time.monotonic() + 60
    while len(found := [process for process in psutil.process_iter() if is_worker(process)]) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_two_nodes_give_what_this_process_gives_even_if_one_is_lost(comparisons, cluster, capfd):
    node = cluster.add_node(num_cpus=1)
    interrupted = comparisons.settings(**{"rdrop.alpha": 0.0})
    with pytest.raises(TrainingInterrupted):
        TrainingRun(interrupted, Path("nodes/plain/seed42"), observer=SignalAt(13)).start()

    def disturb():
        both_train()
        cluster.remove_node(node, allow_graceful=False)

    told = Told()
    with ThreadPoolExecutor(1) as beside:
        disturbing = beside.submit(disturb)
        found = comparisons.make("nodes", RayTasks(cluster.address), told)
        disturbing.result()
    assert capfd.readouterr().out == "", "Ray prints nothing where a document may be expected"
    assert found == comparisons.results
    assert runs_of("nodes") == runs_of("here")
    assert len(told.ended_cells) == 4
    assert told.places.keys() <= set(told.ended_cells) and set(told.places.values()) == {os.uname().nodename}
    assert told.steps and told.steps.keys() <= told.places.keys(), "progress is told, though not the last of a run"
    assert not list(Path("nodes").glob("*/seed*/checkpoints"))
    assert not list(Path("nodes").glob("*/.*.partial"))


def test_a_run_that_fails_on_a_node_is_named_with_the_node(comparisons):
    data = prepare_data(comparisons.settings())
    wild = comparisons.settings(**{"train.lr": 1e30, "train.max_grad_norm": 1e30})
    job = Job("wild seed 42", Path("wild"), wild, data.fingerprint)
    sent = [
        pack(folder, [path for path in folder.rglob("*") if path.is_file()])
        for folder in (comparisons.model, data.folder)
    ]
    answer = train_job(job_as_text(job), 1, 0, *sent, None, str(data.folder))
    assert answer["error"] == "ModelError"
    assert answer["message"].startswith("training failed: the loss became nan")
    assert answer["message"].endswith(f"(on node {os.uname().nodename})")
    assert not Path("wild").exists()


def test_a_run_that_no_node_can_train_is_refused_at_once(comparisons, cluster):
    with pytest.raises(
        ConfigError, match=r"--cpus-per-run 8: no node of the Ray cluster has so many \(CPUs: 1 at most"
    ):
        comparisons.make("wide", RayTasks(cluster.address, cpus=8))
    assert not Path("wide").exists()


def test_a_node_with_another_version_is_refused_before_anything_is_trained(comparisons, cluster, tmp_path):
    other = tmp_path / "torch-0.0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.0.1\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    node = cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": path})
    try:
        with pytest.raises(ConfigError, match=r"Ray node .* has torch 0\.0\.1, but this machine has torch 2\."):
            comparisons.make("mixed", RayTasks(cluster.address))
    finally:
        cluster.remove_node(node, allow_graceful=False)
    assert not Path("mixed").exists()


@pytest.mark.parametrize("listens", [True, False])
def test_no_cluster_at_an_address_is_one_line(rdrop, reviews, tiny_model, monkeypatch, listens):
    monkeypatch.setattr(ray_cluster, "_SECONDS", 2.0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if listens:  # but is no Ray
            other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        said = rdrop.error("compare", reviews, "--model", tiny_model, "--on", f"ray:{address}")
    cause = "no answer within 2 seconds" if listens else "Connection refused"
    assert f"error: --on ray:{address}: no Ray cluster answers there ({cause}). Check the address" in said
