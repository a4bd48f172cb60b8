"""What a launcher's variables mean, and what they do not."""

import pytest

from rdrop_cli import processes
from rdrop_cli.errors import ConfigError


@pytest.mark.parametrize(
    ("variables", "count", "rank"),
    [
        ({}, 1, 0),
        ({"RANK": "1"}, 1, 0),
        ({"WORLD_SIZE": "2"}, 1, 0),
        ({"RANK": "0", "WORLD_SIZE": "0"}, 1, 0),
        ({"RANK": "²", "WORLD_SIZE": "2"}, 2, 0),
        ({"RANK": "1", "WORLD_SIZE": "2"}, 2, 1),
    ],
)
def test_one_process_is_alone_whatever_is_left_in_its_environment(monkeypatch, variables, count, rank):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (processes.world_size(), processes.rank(), processes.is_main_process()) == (count, rank, rank == 0)


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "3", "MASTER_ADDR": "here", "MASTER_PORT": "29500"},
        {"RANK": "1", "MASTER_PORT": "29500"},
        {"RANK": "1", "MASTER_ADDR": "here"},
        {"RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "first"},
    ],
)
def test_variables_that_do_not_fit_together_are_named(monkeypatch, variables):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"WORLD_SIZE": "2", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT contradict"):
        processes.join()
