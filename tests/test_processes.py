"""What several processes are told apart by, decided without starting any."""

import pytest
import torch

from rdrop_cli import processes
from rdrop_cli.core.training.failures import map_failures
from rdrop_cli.errors import ConfigError, ModelError, ProcessLost

NCCL_MEMORY = "NCCL error in: NCCLUtils.cpp:92, unhandled cuda error\nLast error:\nCuda failure 2 'out of memory'"
NCCL_LOST = "NCCL error in: NCCLUtils.cpp:92, remote process exited or there was a network error"


@pytest.fixture
def third_of_four(monkeypatch):
    for name, value in {"RANK": "2", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)


def test_alone_a_process_keeps_the_seed_it_is_given(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert processes.own_seed(42) == 42


def test_no_process_of_one_seed_has_the_stream_of_another_of_the_next(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    seeds = []
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        seeds += [processes.own_seed(seed) for seed in (42, 43, 44)]

    assert len(set(seeds)) == 12
    assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize(("local", "gpus", "expected"), [(0, 1, 0), (3, 4, 3), (3, 1, 0)])
def test_a_process_takes_the_gpu_of_its_number_or_the_only_one_it_sees(local, gpus, expected):
    assert processes.gpu_index(local, gpus) == expected


def test_more_processes_than_gpus_are_refused():
    with pytest.raises(ConfigError, match="process 4 on this machine has no GPU of its own: there are only 2"):
        processes.gpu_index(3, 2)


def test_two_processes_on_one_gpu_are_refused():
    processes.check_own_gpus(["a GPU-1", "a GPU-2", "b GPU-1"])
    with pytest.raises(ConfigError, match="processes 1 and 2 use the same GPU"):
        processes.check_own_gpus(["a GPU-1", "a GPU-2", "a GPU-2"])


def test_memory_that_nccl_lacks_is_no_lost_process(third_of_four, tmp_path):
    with pytest.raises(ModelError, match="out of memory"), map_failures(tmp_path, torch.device("cpu")):
        raise RuntimeError(NCCL_MEMORY)
    with pytest.raises(ProcessLost), map_failures(tmp_path, torch.device("cpu")):
        raise RuntimeError(NCCL_LOST)


def test_nor_is_it_one_to_what_only_names_lost_processes(third_of_four):
    with pytest.raises(RuntimeError, match="unhandled cuda error"), processes.map_lost_processes():
        raise RuntimeError(NCCL_MEMORY)
