"""`rdrop predict --on ray`: a cluster of two nodes on this machine, and what can be wrong with one."""

import contextlib
import json
import sys
from pathlib import Path

import psutil
import pytest

from conftest import CLI, make_reviews, write_csv

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
TEXTS = [text for text, _ in make_reviews(60, seed=6)]
MANY = ("predict", "--input", "parts", "--output", "out")


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs and two nodes with one each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            made.add_node(num_cpus=1)
        yield made
        made.shutdown()


@pytest.fixture
def here(exported):
    """Six parts, and what one process predicts for them."""
    Path("parts").mkdir()
    for number in range(6):
        write_csv(Path(f"parts/{number}.csv"), [(text,) for text in TEXTS[10 * number : 10 * number + 10]], ("text",))
    CLI()("predict", "--input", "parts", "--output", "here")
    return Path("here")


def rows_of(folder):
    import csv

    for number in range(6):
        with Path(folder, f"{number}.csv").open(newline="") as stream:
            yield from csv.DictReader(stream)


def assert_same(folder, here):
    found, expected = list(rows_of(folder)), list(rows_of(here))
    assert [row["text"] for row in found] == TEXTS
    assert [row["label"] for row in found] == [row["label"] for row in expected]
    for column in ("probability_0", "probability_1"):
        values = [float(row[column]) for row in expected]
        assert [float(row[column]) for row in found] == pytest.approx(values, abs=1e-5)


def workers():
    return [each for each in psutil.process_iter() if "PartWorker" in " ".join(_command(each))]


def _command(process):
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def test_two_workers_give_every_row_once_even_if_one_is_killed(rdrop, cluster, here, monkeypatch):
    from rdrop_cli.core.executors.parts_on_ray import PartsOnRay

    welcome, killed = PartsOnRay._hand_out, []

    def killing(self, worker, part):
        welcome(self, worker, part)
        if part.name == "1.csv" and not killed:
            killed.append(part)
            self._ray.kill(worker.actor)

    monkeypatch.setattr(PartsOnRay, "_hand_out", killing)
    result = rdrop(*MANY, "--on", f"ray:{cluster.address}", "--json")
    document, said = json.loads(result.stdout), " ".join(result.stderr.split())
    assert "Workers on Ray: 2" in said
    assert "has ended; another predicts parts/1.csv" in said
    assert [part["name"] for part in document["parts"]] == [f"{number}.csv" for number in range(6)]
    assert (document["count"], document["failed"]) == (60, 0)
    assert_same("out", here)
    assert not list(Path("out").glob(".*partial"))
    assert not workers()
