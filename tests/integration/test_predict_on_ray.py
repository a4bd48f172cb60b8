"""`rdrop predict --on ray`: a cluster of two nodes on this machine, and what can be wrong with one."""

import contextlib
import csv
import importlib.util
import inspect
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from conftest import CLI, make_reviews, write_csv
from rdrop_cli.core.executors.ray_cluster import require_ray

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or importlib.util.find_spec("ray") is None, reason="needs Ray, and sends signals"
)
TEXTS = [text for text, _ in make_reviews(60, seed=6)]
MANY = ("predict", "--input", "parts", "--output", "out", "--backend", "onnx")


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs and two nodes with one each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        require_ray()  # sets what Ray reads when it is imported
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            made.add_node(num_cpus=1)
        yield made
        made.shutdown()


@pytest.fixture
def on_ray(cluster, monkeypatch):
    """Options for that cluster, which is known to answer."""
    monkeypatch.setattr("rdrop_cli.core.executors.ray_cluster._probe", lambda address: None)
    return ["--on", f"ray:{cluster.address}"]


@pytest.fixture
def here(exported):
    """Six parts, and what one process predicts for them."""
    Path("parts").mkdir()
    for number in range(6):
        write_csv(Path(f"parts/{number}.csv"), [(text,) for text in TEXTS[10 * number : 10 * number + 10]], ("text",))
    CLI()(*MANY, "--output", "here")
    return Path("here")


def rows_of(folder):
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


def half_written(worker):
    """Let it look as if a worker on another machine had begun to write its part."""
    worker.opened = replace(worker.opened, staging=".part.elsewhere-1.partial")
    target = worker.part.target
    target.parent.mkdir(exist_ok=True)
    target.with_name(f".{target.name}.elsewhere-1.partial").write_text("text,la")


def assert_workers_end():
    """Ray ends them without being waited for, and one that is just starting not at once."""
    end = time.monotonic() + 60
    while found := [each for each in psutil.process_iter() if "PartWorker" in " ".join(_command(each))]:
        assert time.monotonic() < end, found
        time.sleep(0.1)


def _command(process):
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def test_two_workers_give_every_row_once_even_if_one_is_killed(rdrop, on_ray, here, monkeypatch):
    from rdrop_cli.core.executors.parts_on_ray import PartsOnRay

    hand_out, killed = PartsOnRay._hand_out, []

    def killing(self, worker, part):
        hand_out(self, worker, part)
        if part.name == "1.csv" and not killed:
            killed.append(part)
            self._ray.kill(worker.actor)
            half_written(worker)

    monkeypatch.setattr(PartsOnRay, "_hand_out", killing)
    result = rdrop(*MANY, *on_ray, "--json")
    document, said = json.loads(result.stdout), " ".join(result.stderr.split())
    assert "Workers on Ray: 2" in said
    assert "has ended; another predicts parts/1.csv" in said
    assert [part["name"] for part in document["parts"]] == [f"{number}.csv" for number in range(6)]
    assert (document["count"], document["failed"]) == (60, 0)
    assert_same("out", here)
    assert not list(Path("out").glob(".*elsewhere*"))
    assert_workers_end()


def test_a_part_is_given_up_where_every_worker_ends(rdrop, on_ray, here, monkeypatch):
    from rdrop_cli.core.executors.parts_on_ray import PartsOnRay

    hand_out = PartsOnRay._hand_out

    def killing(self, worker, part):
        hand_out(self, worker, part)
        if part.name == "1.csv":
            self._ray.kill(worker.actor)

    monkeypatch.setattr(PartsOnRay, "_hand_out", killing)
    Path("parts/broken.csv").write_bytes(b"")
    result = rdrop(*MANY, *on_ray, "--json", code=1)
    document, said = json.loads(result.stdout), " ".join(result.stderr.split())
    assert (document["count"], document["failed"]) == (50, 2)
    assert "parts/1.csv: 3 workers ended during its prediction" in said
    assert "parts/broken.csv: the file is empty" in said
    assert "2 of 7 parts could not be predicted: 1.csv, broken.csv. The others are finished" in said


def test_other_settings_are_refused_before_anything_is_predicted(rdrop, on_ray, here):
    message = rdrop.error(*MANY, "--output", "here", "--threshold", "0.7", *on_ray)
    assert "here: has predictions with other settings: threshold none instead of value 0.7, label 1" in message
    assert_workers_end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_an_ended_command_has_finished_is_kept(rdrop, on_ray, here, number):
    shutil.copytree("here", "out")
    for name in ("1.csv", "4.csv"):
        Path("out", name).unlink()
        Path("out/.parts", f"{name}.json").unlink()
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background begins with it ignored
        "from dataclasses import replace\n"
        "from rdrop_cli.app import app\n"
        "from rdrop_cli.core.executors.parts_on_ray import PartsOnRay\n"
        f"{inspect.getsource(half_written)}\n"
        "hand_out = PartsOnRay._hand_out\n"
        "def ending(self, worker, part):\n"
        "    hand_out(self, worker, part)\n"
        "    if part.name == '4.csv':\n"
        "        while not os.path.exists('out/.parts/1.csv.json'): time.sleep(0.05)\n"
        "        half_written(worker)\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "PartsOnRay._hand_out = ending\n"
        "app(sys.argv[1:], prog_name='rdrop')\n"
    )
    command = [sys.executable, "-c", code, *MANY, *on_ray]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == (130 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert "finished; the same command resumes" in done.stderr
        assert not list(Path("out").glob(".*elsewhere*"))
    document = rdrop.json(*MANY)
    assert {part["name"] for part in document["parts"] if part["status"] == "predicted"} <= {"4.csv"}
    assert_same("out", here)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--on", "ray:"], 1, "--on ray:: many files are predicted on ray or ray:HOST:PORT, or here without --on"),
        (["--on", "local:2"], 1, "--on local:2: many files are predicted on ray"),
        (["--on", "ray:127.0.0.1:1"], 1, "--on ray:127.0.0.1:1: no Ray cluster answers there (Connection refused)"),
        (["--cpus-per-worker", "2"], 2, "--cpus-per-worker and --gpus-per-worker need --on ray"),
        (
            ["--on", "ray", "--gpus-per-worker", "1.5"],
            1,
            "--gpus-per-worker 1.5: give a whole number, or less than one",
        ),
    ],
)
def test_mistakes_are_named_before_anything_is_loaded(rdrop, here, options, code, message):
    assert message in rdrop.error(*MANY, *options, code=code)
    assert not Path("out").exists()


def test_workers_that_no_node_has_room_for_are_refused(rdrop, on_ray, here):
    message = rdrop.error(*MANY, *on_ray, "--cpus-per-worker", "2")
    assert "--cpus-per-worker 2: no node of the Ray cluster has so many" in message


def test_without_ray_the_extra_is_named(rdrop, here, monkeypatch):
    monkeypatch.setattr("rdrop_cli.core.storage.extras.find_spec", lambda name: None)
    message = rdrop.error(*MANY, "--on", "ray")
    assert "Install it with: pip install 'rdrop-cli[ray]'" in message


def test_a_node_without_the_files_says_so(here, monkeypatch):
    from rdrop_cli.core.executors.part_worker import PartWorker
    from rdrop_cli.core.inference.load_options import LoadOptions
    from rdrop_cli.core.inference.part_prediction import PartReading
    from rdrop_cli.core.inference.parts import Parts
    from rdrop_cli.core.runs.checkpoint import newest_finished

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    found, worker = newest_finished(), PartWorker(1, True)
    parts = Parts(Path("parts").absolute(), Path("out").absolute(), ())
    error = worker.open(replace(found, name="/gone/best"), LoadOptions(), parts, PartReading())
    assert "/gone/best: is not there on Ray node" in str(error)
    error = worker.open(found, LoadOptions(), replace(parts, root=Path("/gone/parts")), PartReading())
    assert "/gone/parts: is not there on Ray node" in str(error)
