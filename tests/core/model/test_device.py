"""Choosing the device and the precision; a GPU is played here, as far as it is asked."""

import pytest
import torch

from rdrop_cli.core.model import device as devices
from rdrop_cli.errors import ConfigError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def gpus(monkeypatch):
    """Makes CUDA GPUs of a compute capability appear."""

    def appear(count, capability=(9, 0)):
        chosen = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        return chosen

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return appear


def test_auto_takes_a_gpu_where_there_is_one(gpus):
    gpus(1)
    assert devices.pick_device() == CUDA
    gpus(0)
    assert devices.pick_device() == CPU


def test_a_gpu_is_chosen_by_its_number(gpus):
    chosen = gpus(2)
    assert devices.pick_device("cuda:1") == torch.device("cuda", 1)
    assert chosen == [torch.device("cuda", 1)]
    assert devices.pick_device("cpu") == CPU
    assert devices.device_in_use() == CPU


@pytest.mark.parametrize(
    ("wanted", "count", "cause"),
    [
        ("cuda", 0, "no CUDA GPU found"),
        ("cuda:0", 0, "no CUDA GPU found"),
        ("cuda:1", 1, "not found; the only GPU is cuda:0"),
        ("cuda:7", 2, "not found; the GPUs are cuda:0 to cuda:1"),
        ("mps", 2, "no Apple GPU found"),
    ],
)
def test_a_device_that_is_not_there_is_refused(gpus, wanted, count, cause):
    gpus(count)
    with pytest.raises(ConfigError, match=f"device {wanted}: {cause}"):
        devices.pick_device(wanted)


def test_several_processes_have_a_gpu_each(gpus, monkeypatch):
    gpus(2)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="since each needs its own"):
        devices.pick_device("cuda:1")


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16"), ((7, 0), "float16"), ((6, 1), "float32")],
)
def test_auto_takes_the_precision_that_a_gpu_is_fast_in(gpus, capability, precision):
    gpus(1, capability)
    assert devices.pick_precision("auto", CUDA) == precision
    assert devices.supports("float16", CUDA) == (capability >= (7, 0))
    assert devices.pick_precision("float16", CUDA) == "float16"


@pytest.mark.parametrize(
    ("capabilities", "cpuinfo", "has"),
    [
        ({"avx512_bf16": True}, None, True),
        ({"avx512_bf16": False, "amx_bf16": False}, None, False),
        ({}, "flags\t: avx2 amx_bf16\n", True),
        ({}, "Features\t: asimd\n", False),
        ({}, "processor\t: 0\n", None),
        ({}, None, None),
    ],
)
def test_a_cpu_of_which_nothing_is_known_is_not_said_to_lack_bfloat16(
    tmp_path, monkeypatch, capabilities, cpuinfo, has
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    if cpuinfo is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
    assert devices.cpu_has_bfloat16(tmp_path) is has


@pytest.mark.parametrize(("count", "shown"), [(1, "CPU, 1 thread"), (2, "CPU, 2 threads")])
def test_a_cpu_is_described_with_its_threads(monkeypatch, count, shown):
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    assert devices.describe(CPU) == shown
