"""`rdrop compare` of six short trainings: in one process, on a Ray node with one CPU, and on two such nodes.

    python benchmarks/ray_scaling.py --save

The nodes are processes on this machine, which needs two cores that do nothing else. What Ray costs for each run is the
difference between one node and one process: starting a process, importing PyTorch, sending model and data, and bringing
the finished run back.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
from rich.console import Console

NODES = (0, 1, 2)
RUNS = ["--arms", "plain,rdrop", "--seeds", "3", "--threads", "1"]


def measure(nodes: int, options: list[str], folder: Path) -> dict[str, Any]:
    """The seconds that the whole command takes, and those of each training in it.

    Args:
        nodes: How many with one CPU each; 0: without Ray.
    """
    cluster = None
    on: list[str] = []
    if nodes:
        from rdrop_cli.core.executors import ray_cluster

        ray_cluster.require_ray()  # sets what Ray reads when it is imported
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(nodes):
            cluster.add_node(num_cpus=1)
        on = ["--on", f"ray:{cluster.address}"]
    out = folder / f"nodes-{nodes}"
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "rdrop_cli", "compare", *RUNS, *options, *on, "--out", str(out), "--quiet"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    if cluster is not None:
        cluster.shutdown()
    trainings = [json.loads(path.read_text())["wall_seconds"] for path in sorted(out.glob("*/seed*/training.json"))]
    return {"nodes": nodes, "seconds": round(seconds, 1), "trainings": [round(value, 1) for value in trainings]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train-examples", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--save", action="store_true", help="Keep the results in benchmarks/results/.")
    args = parser.parse_args()

    options = ["--train-examples", str(args.train_examples), "--epochs", str(args.epochs)]
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "rdrop_cli", "prepare"], check=True, stdout=subprocess.DEVNULL)
        found = [measure(nodes, options, Path(place)) for nodes in NODES]
    here, one, two = (each["seconds"] for each in found)
    runs = len(found[0]["trainings"])
    document = {
        "compare": " ".join(["rdrop compare", *RUNS, *options]),
        "cores": os.cpu_count(),
        "runs": found,
        "two_nodes_against_one": round(one / two, 2),
        "overhead_seconds_a_run": round((one - here) / runs, 1),
    }
    console = Console(highlight=False)
    for each in found:
        console.print(f"{each['nodes']} nodes: {each['seconds']} s; trainings {each['trainings']}")
    console.print(f"two nodes against one: {document['two_nodes_against_one']}x")
    console.print(f"Ray for each run: {document['overhead_seconds_a_run']} s")
    if args.save:
        command = " ".join(["python benchmarks/ray_scaling.py", *sys.argv[1:]])
        console.print(f"saved {machine.save('ray-scaling', command, document)}")


if __name__ == "__main__":
    main()
