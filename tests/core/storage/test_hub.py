"""The hub without a hub: probing, caching, and data sets as the hub library gives them."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rdrop_cli.config import load_config
from rdrop_cli.core.data.prepare import prepare_data
from rdrop_cli.core.runs.checkpoint import find_checkpoint
from rdrop_cli.core.storage import hub
from rdrop_cli.errors import CheckpointError, ConfigError, HubError
from rdrop_cli.schema import HubConfig


@pytest.fixture
def online(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("name", "is_id"),
    [("a/b", True), ("stanfordnlp/imdb", True), ("imdb", False), ("a/b/c", False), ("../b", False), ("a/..", False)],
)
def test_an_id_has_one_slash(name, is_id):
    assert hub.looks_like_id(name) is is_id


def test_an_endpoint_that_does_not_answer_is_named_with_the_ways_on(online):
    with pytest.raises(HubError) as error:
        hub.require("some/model", "model", HubConfig())
    text = str(error.value)
    assert text.startswith("model some/model: not in the cache, and http://127.0.0.1:9 cannot be reached")
    assert "Use a local folder" in text
    assert "hub.endpoint=URL" in text


def test_what_is_cached_needs_no_endpoint(online, tmp_path, monkeypatch):
    (tmp_path / "cache/hub/models--some--model/snapshots").mkdir(parents=True)
    hub.require("some/model", "model", HubConfig())
    assert hub.is_offline()
    monkeypatch.delenv("HF_HUB_OFFLINE")


def test_a_configured_endpoint_wins(online, monkeypatch):
    with pytest.raises(HubError, match=r"http://127.0.0.1:10 cannot be reached"):
        hub.require("some/model", "model", HubConfig(endpoint="http://127.0.0.1:10"))
    with pytest.raises(HubError, match="is not an http"):
        hub.require("some/model", "model", HubConfig(endpoint="ftp://mirror"))


def test_a_checkpoint_without_a_slash_asks_no_network(online, monkeypatch):
    monkeypatch.setattr(hub, "probe", None)
    with pytest.raises(CheckpointError, match="bert-base: no such run or checkpoint"):
        find_checkpoint("bert-base")


def test_a_data_set_keeps_its_official_test_split(monkeypatch):
    """As stanfordnlp/imdb is: class names, an official test split, and unlabelled rows in a split of their own."""
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})

    def make(prefix, labels):
        rows = {"text": [f"{prefix} {i}" for i in range(len(labels))], "label": labels}
        return datasets.Dataset.from_dict(rows, features=features)

    splits = datasets.DatasetDict(
        train=make("a", [0, 1] * 50), test=make("b", [0, 1] * 10), unsupervised=make("c", [-1] * 30)
    )
    monkeypatch.setattr(hub, "require", lambda *_: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: splits)
    data = prepare_data(load_config("imdb-roberta"))
    assert data.labels.names == ("neg", "pos")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 90, "validation": 10, "test": 20}
    assert data.splits["test"].texts == [f"b {i}" for i in range(20)]


def test_a_data_set_that_the_hub_has_not_got(monkeypatch):
    import datasets

    def missing(name):
        raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist on the Hub.\nmore")

    monkeypatch.setattr(hub, "require", lambda *_: None)
    monkeypatch.setattr(datasets, "load_dataset", missing)
    with pytest.raises(HubError, match=r"dataset a/b: Dataset 'a/b' doesn't exist on the Hub\. Use a local file"):
        hub.load_dataset("a/b", HubConfig())


def test_class_names_are_those_of_the_chosen_column(monkeypatch):
    import datasets

    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["neg", "pos"]),
            "topic": datasets.ClassLabel(names=["film", "book", "song"]),
        }
    )
    rows = {"text": [f"t {i}" for i in range(60)], "label": [0, 1] * 30, "topic": [0, 1, 2] * 20}
    loaded = datasets.DatasetDict(train=datasets.Dataset.from_dict(rows, features=features))
    monkeypatch.setattr(hub, "require", lambda *_: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: loaded)
    config = load_config(None, [("data.source", "a/b"), ("data.label_column", "topic")])
    assert prepare_data(config).labels.names == ("film", "book", "song")


@pytest.mark.parametrize(
    ("endpoint", "error", "cause"),
    [
        ("http://u:s3c@ret@host", OSError(111, "refused"), "http://***@host cannot be reached (refused)"),
        (
            "http://u:s3 cret@host",
            http.client.InvalidURL("nonnumeric port: 's3'"),  # or the proxy's, which is refused in the same words
            "http://***@host cannot be reached (its address, or that of the proxy, is not valid)",
        ),
        ("https://u:s3c/ret@host", None, "the endpoint https://***@host is not a valid address"),
        ("u:s3cret@host", None, "the endpoint ***@host is not an http(s) address"),
        ("http://[::1", None, "the endpoint http://[::1 is not a valid address"),
    ],
)
def test_no_cause_quotes_a_password(monkeypatch, endpoint, error, cause):
    def fail(request, timeout):
        raise error

    monkeypatch.setattr("urllib.request.urlopen", fail)
    assert hub.probe(endpoint) == cause


def test_a_password_is_no_part_of_the_host_that_is_asked(monkeypatch):
    asked = []

    def answer(request, timeout):
        asked.append(request.full_url)
        return contextlib.nullcontext()

    monkeypatch.setattr("urllib.request.urlopen", answer)
    assert hub.probe("https://user:s3c@ret@host:8443/hub") is None
    assert asked == ["https://host:8443/hub"]


def test_a_probe_that_hangs_is_left_behind(monkeypatch):
    """As looking up a name can, for half a minute."""
    monkeypatch.setattr(hub, "_PROBE_SECONDS", 0.05)
    monkeypatch.setattr(hub, "_ask", lambda endpoint: time.sleep(30))
    assert hub.probe("http://nowhere") == "http://nowhere did not answer within 0.05 seconds"


def test_an_endpoint_that_says_nothing_is_given_up_before_anything_heavy_is_loaded(tmp_path):
    """It takes the connection and stays silent, which is slower than no network at all."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache")}
        command = [sys.executable, "-m", "rdrop_cli", "train", "--config", "imdb-roberta"]
        began = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    for part in ("model FacebookAI/roberta-base", endpoint, "Use a local folder", "hub.endpoint=URL"):
        assert part in done.stderr
    assert seconds < 15  # left to itself, the hub library tries for 23


def test_the_home_of_an_unknown_user_is_a_folder_of_that_name(monkeypatch):
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", "~no-such-user/cache")
    assert hub.cache() == Path("~no-such-user/cache/hub")  # as in huggingface_hub


@pytest.mark.parametrize("address", ["http://[::1", "https://user:pa/ss@host"])
def test_an_endpoint_that_cannot_be_parsed_is_refused_without_its_password(address, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(ConfigError, match=r"HF_ENDPOINT: .* is not a valid address") as error:
        hub.prepare_environment(HubConfig())
    assert "pa/" not in str(error.value) and "user" not in str(error.value)
