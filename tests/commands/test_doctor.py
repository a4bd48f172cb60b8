"""`rdrop doctor` on machines that are well and on others."""

import http.client
import os
import sys
import tempfile
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from conftest import run_python
from rdrop_cli import threads
from rdrop_cli.core.doctor import resources, software
from rdrop_cli.core.model import device
from rdrop_cli.core.storage import hub

GIB = 2**30


@pytest.fixture(autouse=True)
def well(monkeypatch):
    """A machine with nothing to find fault with: idle, with room, without a GPU, offline because it is told to be."""
    for name in list(os.environ):
        if name.startswith(("HF_", "CUDA_", "OMP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 0.0)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16 * GIB, available=8 * GIB))
    monkeypatch.setattr(threads, "control_groups", lambda controller, root=None: iter(()))
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100 * GIB))


@pytest.fixture
def installed(monkeypatch):
    """Makes a package have another version; None: it is not installed."""
    real = software.version_of

    def make(**versions):
        monkeypatch.setattr(software, "version_of", lambda name: versions.get(name, real(name)))

    return make


def lines_of(shown, name):
    """The lines of one finding, without its name."""
    lines = shown.split("\n")
    first = next(index for index, line in enumerate(lines) if line[2:].startswith(f"{name}  "))
    last = next(index for index in range(first + 1, len(lines)) if not lines[index].startswith("      "))
    return " ".join(" ".join(lines[first:last]).split())


def problems(document):
    return [problem["where"] for problem in document["problems"]]


def test_a_machine_that_is_well(rdrop):
    shown = rdrop("doctor").stdout
    assert shown.splitlines()[-1] == "No problems found"
    assert not [line for line in shown.splitlines() if line.startswith("!")]
    for name in ("rdrop", "python", "torch", "transformers", "starter", "processor", "memory", "runs"):
        assert f"\n  {name} " in shown
    assert lines_of(shown, "gpu") == "gpu none visible, as CUDA_VISIBLE_DEVICES hides all"
    assert lines_of(shown, "threads") == "threads 1 in a training, set by OMP_NUM_THREADS"
    assert lines_of(shown, "hub") == "hub offline (HF_HUB_OFFLINE is set)"


def test_the_document_has_the_same(rdrop):
    found = rdrop.json("doctor")
    assert found["problems"] == [] and found["can_train"] is True
    assert found["software"]["torch"]["version"] == software.version_of("torch")
    assert found["machine"]["memory"] == {"total_bytes": 16 * GIB, "available_bytes": 8 * GIB, "limit_bytes": None}
    assert found["machine"]["precision"]["auto"] in ("float32", "bfloat16")
    assert found["storage"]["runs"]["path"].endswith("runs")


def test_a_version_that_is_not_supported_is_marked_with_what_to_do(rdrop, installed):
    installed(numpy="1.20.3")
    shown = rdrop("doctor").stdout
    assert lines_of(shown, "numpy") == (
        "! numpy 1.20.3 (needs >=1.26) This version is not supported. Install another with: pip install 'numpy>=1.26'"
    )
    assert shown.splitlines()[-1] == "1 problem"


def test_a_package_that_is_missing_makes_training_impossible(rdrop, installed):
    installed(accelerate=None)
    shown = rdrop("doctor", code=1).stdout
    assert "It is required. Install it with: pip install 'accelerate>=" in lines_of(shown, "accelerate")
    assert shown.splitlines()[-1] == "1 problem, 1 of which must be solved before training"


@pytest.mark.parametrize("name", ["torch", "transformers"])
def test_a_package_that_cannot_be_imported_is_said_in_a_line_and_the_rest_is_still_examined(rdrop, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    found = rdrop.json("doctor", code=1)
    assert problems(found) == [f"software.{name}"]
    assert "It cannot be imported: ModuleNotFoundError: " in found["problems"][0]["problem"]
    assert "--force-reinstall" in found["problems"][0]["problem"]
    assert found["machine"]["memory"]["total_bytes"] == 16 * GIB
    assert (found["machine"]["device"] == "unknown, as PyTorch cannot be imported") == (name == "torch")


@pytest.mark.parametrize("endpoint", ["http://[::1", "https://u:wonder/land@host"])
def test_an_endpoint_that_is_no_address_is_the_cause_rather_than_transformers(rdrop, monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    shown = rdrop("doctor", code=1).stdout
    assert lines_of(shown, "transformers").endswith(
        " It cannot be imported because HF_ENDPOINT is not a valid address. Correct the variable, or unset it."
    )
    assert "reinstall" not in shown
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert rdrop.json("doctor", code=1)["problems"][-1] == {
        "where": "network.hub", "problem": "Correct HF_ENDPOINT, or unset it.", "prevents_training": False
    }  # fmt: skip
    assert shown.splitlines()[-1] == "1 problem, 1 of which must be solved before training"


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (OSError("libtorch.so: cannot open"), "Reinstall it: pip install "),
        (ValueError("bad setting"), "The cause may be an environment variable or another package."),
    ],
)
def test_only_a_broken_package_is_to_be_reinstalled(rdrop, monkeypatch, fault, advice):
    def fail(name):
        raise fault

    monkeypatch.setattr(software.importlib, "import_module", fail)
    (found, *_) = rdrop.json("doctor", code=1)["problems"]
    assert found["problem"].startswith(f"It cannot be imported: {type(fault).__name__}: {fault}. {advice}")
    assert ("reinstall" in found["problem"]) == isinstance(fault, OSError)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let a working directory be removed")
def test_a_working_directory_that_is_gone_is_said_before_anything_is_loaded(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    code = (
        "import os, sys\n"
        "from rdrop_cli.app import app\n"
        "os.rmdir(os.getcwd())\n"
        "try: app(['doctor'], prog_name='rdrop')\n"
        "except SystemExit as stop: print('EXIT', stop.code, 'torch' in sys.modules)"
    )
    done = run_python(code, cwd=folder)
    assert done.stdout == "EXIT 1 False\n"
    assert done.stderr == "error: the working directory no longer exists. Change to another folder.\n"


@pytest.mark.parametrize(("name", "unknown"), [("psutil", "load"), ("packaging.requirements", "packages")])
def test_without_what_it_needs_itself_it_still_reports(rdrop, monkeypatch, name, unknown):
    monkeypatch.setitem(sys.modules, name, None)
    shown = rdrop("doctor", code=1).stdout
    assert lines_of(shown, unknown).startswith(f"! {unknown} unknown It could not be examined: ")
    assert "\n  processor " in shown


@pytest.mark.parametrize(
    ("has", "precision"),
    [
        (True, "auto selects bfloat16: this CPU has bfloat16 matrix instructions"),
        (False, "auto selects float32: this CPU has no bfloat16 matrix instructions"),
        (None, "auto selects float32: nothing here says whether this CPU has bfloat16 matrix instructions"),
    ],
)
def test_the_precision_has_a_reason(rdrop, monkeypatch, has, precision):
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: has)
    assert lines_of(rdrop("doctor").stdout, "precision") == f"precision {precision}"


def test_a_driver_that_fails_is_a_problem_of_its_own(rdrop, monkeypatch):
    def fail():
        raise RuntimeError("CUDA driver initialization failed\nmore")

    monkeypatch.setattr(torch.cuda, "is_available", fail)
    found = rdrop.json("doctor")
    assert "CUDA driver initialization failed." in found["problems"][0]["problem"]
    assert found["machine"]["devices"] == "unknown"


def test_a_busy_machine(rdrop, monkeypatch):
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 100.0)
    assert "The machine is busy" in lines_of(rdrop("doctor").stdout, "load")


def test_more_threads_than_cores(rdrop, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "999")
    (problem,) = rdrop.json("doctor")["problems"]
    assert problem["where"] == "machine.OMP_NUM_THREADS"
    assert f"set it to {threads.usable_cores()}" in problem["problem"]


@pytest.mark.parametrize("setting", ["abc", "0", "-2"])
def test_threads_that_are_no_number(rdrop, monkeypatch, setting):
    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    (problem,) = rdrop.json("doctor")["problems"]
    assert problem["where"] == "machine.OMP_NUM_THREADS"
    assert problem["problem"].startswith("This is not a number of threads, so it is ignored: unset ")


def test_a_list_of_threads_is_fine(rdrop, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1,1")
    assert rdrop.json("doctor")["problems"] == []


def test_little_memory_and_a_full_disk(rdrop, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=2 * GIB, available=GIB))
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda folder: SimpleNamespace(free=GIB))
    assert problems(rdrop.json("doctor")) == ["machine.memory", "storage.runs", "storage.hub_cache"]


def test_a_folder_that_cannot_be_written_makes_training_impossible(rdrop, monkeypatch):
    def refuse(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    shown = rdrop("doctor", code=1).stdout
    assert "not writable" in lines_of(shown, "runs") and "(Read-only file system)" in lines_of(shown, "runs")
    assert shown.splitlines()[-1] == "2 problems, 1 of which must be solved before training"


def test_nothing_is_left_in_the_folders_that_are_tried(rdrop, in_empty_folder):
    rdrop("doctor")
    assert list(in_empty_folder.iterdir()) == []


def test_a_hub_that_answers_and_one_that_does_not(rdrop, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(hub, "probe", lambda address: None)
    assert rdrop.json("doctor")["network"]["hub"] == {"endpoint": "https://huggingface.co", "state": "answers"}

    monkeypatch.setattr(hub, "probe", lambda address: f"{address} cannot be reached (no route)")
    shown = rdrop("doctor").stdout
    assert "cannot be reached (no route)" in lines_of(shown, "hub") and "name a mirror" in lines_of(shown, "hub")


def test_secrets_and_the_home_folder_are_not_in_the_report(rdrop, monkeypatch, tmp_path):
    secret = "wonderland"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", f"hf_{secret}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", f"https://alice:{secret}@mirror.example/hub?key={secret}")
    monkeypatch.setenv("HTTPS_PROXY", f"http://alice:{secret}@proxy.example:3128")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(hub, "_ask", lambda address: f"{address} cannot be reached (no route)")
    shown = rdrop("doctor", "--json")
    for output in (shown.stdout, shown.stderr):
        assert secret not in output and str(tmp_path) not in output
        assert "~/cache" in output and "mirror.example" in output and "proxy.example:3128" in output


@pytest.mark.parametrize(
    ("endpoint", "proxy", "offline"),
    [
        ("https://u:wonder/land@host", "alice:wonder@proxy:3128", "0"),
        ("https://u:wonder land@host", "http://bob:wonder@land@proxy", "0"),
        ("u:wonder@host", "alice:wonder land@proxy:3128", "1"),
    ],
)
def test_passwords_that_spoil_an_address_are_not_in_the_report(rdrop, monkeypatch, endpoint, proxy, offline):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(urllib.request, "urlopen", refuse_address)
    shown = rdrop("doctor", "--json", code=int("/land" in endpoint))
    for output in (shown.stdout, shown.stderr):
        assert "wonder" not in output and "land" not in output
        assert "***@host" in output and "***@proxy" in output


def refuse_address(request, timeout):
    """As Python does where it takes a part of the password for the port."""
    raise http.client.InvalidURL("nonnumeric port: 'wonder'")


def test_text_that_could_act_on_a_terminal_is_escaped(rdrop, monkeypatch):
    monkeypatch.setenv("HF_HOME", "\x1b[31m[bold]\u202e")
    shown = rdrop("doctor").stdout
    assert "\\x1b[31m[bold]\\u202e" in shown
    assert all(line.isprintable() for line in shown.split("\n"))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_and_nothing_is_cut(rdrop, monkeypatch, installed, width):
    from rdrop_cli.core.doctor.examination import examine
    from rdrop_cli.terminal.doctor_view import report

    installed(numpy="1.20.3", scipy="1.0")
    sections = examine(Path("runs"))
    lines = report(sections, width).plain.split("\n")
    long_words = [word for line in lines for word in line.split() if len(word) > width // 2]
    assert max(len(line) for line in lines if not any(word in line for word in long_words)) <= width
    said = " ".join(" ".join(lines).split())
    for section in sections:
        for finding in section.findings:
            assert " ".join(f"{finding.name} {finding.text} {finding.problem or ''}".split()) in said


class TestGpu:
    @pytest.fixture(autouse=True)
    def gpu(self, monkeypatch):
        """Makes a GPU of a capability appear, with so many GiB free of 80."""

        def appear(capability, free):
            shape = SimpleNamespace(name="NVIDIA H100", major=capability[0], minor=capability[1])
            monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
            monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
            monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: shape)
            monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
            monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free * GIB, 80 * GIB))
            monkeypatch.setattr(torch.version, "cuda", "12.8")

        self.appear = appear

    @pytest.mark.parametrize(
        ("capability", "precision", "reason"),
        [
            ((9, 0), "bfloat16", "a GPU of compute capability 9.0 has bfloat16"),
            ((7, 5), "float16", "a GPU of compute capability 7.5 has fast float16, but no bfloat16"),
            ((6, 1), "float32", "a GPU of compute capability 6.1 has neither in hardware"),
        ],
    )
    def test_it_is_described_with_the_precision_that_auto_is_there(self, rdrop, capability, precision, reason):
        self.appear(capability, free=79)
        machine = rdrop.json("doctor")["machine"]
        assert machine["gpu_0"]["name"] == "NVIDIA H100" and machine["gpu_0"]["free_bytes"] == 79 * GIB
        assert machine["device"] == {"auto": "cuda"}
        assert machine["precision"] == {"auto": precision, "reason": reason}
        assert machine["cuda"]["version"] == "12.8"

    def test_one_that_others_use_is_a_problem(self, rdrop):
        self.appear((9, 0), free=3)
        assert "Most of its memory is in use" in lines_of(rdrop("doctor").stdout, "gpu 0")

    @pytest.mark.parametrize(
        ("built_for", "advice"), [(None, "built without CUDA"), ("12.8", "needs a driver for CUDA")]
    )
    def test_one_that_pytorch_cannot_use_is_a_problem(self, rdrop, monkeypatch, built_for, advice):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        monkeypatch.setattr(torch.version, "cuda", built_for)
        monkeypatch.setattr(resources.shutil, "which", lambda name: f"/usr/bin/{name}")
        assert advice in lines_of(rdrop("doctor").stdout, "gpu")


def test_only_pytorch_and_transformers_are_loaded(tmp_path):
    heavy = ("datasets", "sklearn", "pandas", "pyarrow", "scipy", "accelerate", "tensorboard", "matplotlib")
    code = (
        "import sys\n"
        "from rdrop_cli.app import app\n"
        "try: app(['doctor', '--quiet', '--json'], prog_name='rdrop')\n"
        "except SystemExit: pass\n"
        f"print('LOADED', [name for name in {heavy!r} if name in sys.modules])"
    )
    assert run_python(code, cwd=tmp_path).stdout.endswith("LOADED []\n")
