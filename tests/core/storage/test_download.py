"""Fetching from a hub that has troubles of every kind: one line with the cause and the ways on."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from hub_server import serving

TROUBLES = {
    "no/such": "not found on the hub, or private",
    "401/model": "the hub answered 401 Unauthorized; you may not be logged in (hf auth login)",
    "403/model": "you must accept its terms on the hub and log in (hf auth login)",
    "500/model": "the hub answered 500 Internal Server Error",
    "half/model": "the connection failed",
    "wrong/model": "the downloaded model.safetensors is damaged (its hash differs from the hub's)",
    "pickled/model": "no safetensors weights found; pickled weights can run code when loaded and are refused",
    "empty/model": "config.json is missing",
}
SCRIPT = """
import json, sys
from rdrop_cli.core.storage.download import download_file, download_model
from rdrop_cli.errors import HubError
answers, stages = {}, []
for name in sys.argv[1:]:
    try:
        folder = download_model(name, None, lambda *stage: stages.append(stage))
        answers[name] = sorted(path.name for path in folder.iterdir())
    except HubError as error:
        answers[name] = str(error)
files = {}
for name in ("some/model", "401/model", "no/such"):
    try:
        files[name] = [(path := download_file(name, file)) and path.name for file in ("config.json", "rdrop.json")]
    except HubError as error:
        files[name] = str(error)
print(json.dumps([answers, stages[-1], files]))
"""


@pytest.fixture(scope="module")
def answers(tiny_model, tmp_path_factory):
    """What fetching each model came to, the last progress reported, the cache, and what single files came to."""
    root, cache = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("cache")
    for name in ("some/model", *TROUBLES):
        if name != "no/such":
            shutil.copytree(tiny_model, root / "models" / name)
    (root / "models/pickled/model/model.safetensors").rename(root / "models/pickled/model/pytorch_model.bin")
    (root / "models/empty/model/config.json").unlink()
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    with serving(root) as endpoint:
        environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
        command = [sys.executable, "-c", SCRIPT, "some/model", *TROUBLES]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found, stage, files = json.loads(done.stdout)
    return found, stage, cache, files


@pytest.mark.parametrize("name", TROUBLES)
def test_each_trouble_is_one_line_with_its_cause_and_the_ways_on(answers, name):
    message = answers[0][name]
    assert message.startswith(f"model {name}: ")
    assert TROUBLES[name] in message
    assert "\n" not in message
    assert "hub.endpoint=URL" in message or "safetensors" in message


def test_a_model_is_fetched_without_what_could_run_code(answers, tiny_model):
    found, stage, _, _ = answers
    assert found["some/model"] == sorted(path.name for path in tiny_model.iterdir())
    assert stage[0] == "Downloading MB"
    assert stage[1] >= 1


def test_what_arrived_damaged_does_not_stay_in_the_cache(answers):
    _, _, cache, _ = answers
    assert not list(cache.glob("hub/models--wrong--model/snapshots/*/model.safetensors"))
    assert list(cache.glob("hub/models--some--model/snapshots/*/model.safetensors"))
    assert not list(cache.rglob("*.bin"))


def test_pickled_weights_come_with_where_to_look_for_others(answers):
    assert "under pickled/model/discussions and use --set model.revision=refs/pr/N" in answers[0]["pickled/model"]


def test_a_file_that_a_repository_has_not_got_is_none_and_no_error(answers):
    files = answers[3]
    assert files["some/model"] == ["config.json", None]
    assert "the hub answered 401" in files["401/model"] or "not found on the hub" in files["401/model"]
    assert files["no/such"].startswith("model no/such: not found on the hub")
