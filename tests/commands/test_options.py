"""Flags and the configuration keys that they set."""

import inspect

import pytest

from rdrop_cli.commands import options
from rdrop_cli.commands.compare import compare
from rdrop_cli.commands.prepare import prepare
from rdrop_cli.commands.train import train
from rdrop_cli.config import dotted_keys
from rdrop_cli.errors import DataError

NO_KEY = {"config", "set_", "out", "overwrite", "threads", "json_output", "quiet", "debug"}
NO_KEY |= {"on", "cpus_per_run", "gpus_per_run"}
OF_ITS_OWN = {
    train: {"resume", "dry_run", "no_export"},
    compare: {"arms", "arm", "seeds", "budget", "dry_run"},
    prepare: {"strict", "no_strict"},
}


def test_every_flag_sets_a_key_that_there_is():
    assert set(options.FLAG_KEYS.values()) <= set(dotted_keys())


@pytest.mark.parametrize("command", OF_ITS_OWN, ids=lambda command: command.__name__)
def test_no_flag_is_forgotten(command):
    assert set(inspect.signature(command).parameters) - set(options.FLAG_KEYS) <= NO_KEY | OF_ITS_OWN[command]


def test_flags_win_over_assignments_and_zero_is_a_value():
    given = {"alpha": 0.0, "allow_rejects": False, "lr": None, "quiet": True}
    assert options.overrides(given, ["rdrop.alpha=3", "train.lr=1e-3"]) == [
        ("rdrop.alpha", 3),
        ("train.lr", 1e-3),
        ("data.allow_rejects", False),
        ("rdrop.alpha", 0.0),
    ]


def test_maps_and_numbers_are_read():
    given = {"label_map": ["pos=positive", "neg=negative"], "micro_batch_size": "8"}
    read = dict(options.overrides(given, None))
    assert read == {"data.label_map": {"pos": "positive", "neg": "negative"}, "train.micro_batch_size": 8}
    assert options.overrides({"micro_batch_size": "auto"}, None) == [("train.micro_batch_size", "auto")]
    with pytest.raises(DataError, match="--label-map"):
        options.overrides({"label_map": ["pos"]}, None)
