"""`rdrop push`: exactly the model goes to the hub, in one commit, after a question, and comes back as it was."""

import json
import os
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants
from typer.testing import CliRunner

from conftest import make_noisy_reviews, write_csv
from hub_server import serving
from rdrop_cli.core.runs.threshold import Threshold, save_threshold
from rdrop_cli.core.storage.lock import only_writer

TOKEN = "hf_aTokenThatNobodyMaySee"
MODEL = ["README.md", "config.json", "model.safetensors", "rdrop.json", "tokenizer.json", "tokenizer_config.json"]
EXPORT = ["onnx/manifest.json", "onnx/model.onnx", "onnx/model_quantized.onnx"]


@pytest.fixture
def hub(tmp_path_factory, monkeypatch):
    """The folder of a hub that is served, and to which a token is known."""
    root = tmp_path_factory.mktemp("hub")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # the library has read its variables already
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with serving(root) as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        yield root


@pytest.fixture
def run(exported):
    return Path(exported["run_dir"])


@pytest.fixture
def asked(monkeypatch):
    """A terminal to ask on; `rdrop` is given the answer as its input."""
    monkeypatch.setattr("rdrop_cli.commands.asking.is_terminal", lambda: True)


def published(hub, repository="me/reviews"):
    folder = hub / "models" / repository
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def commits(hub):
    path = hub / "commits.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def test_exactly_the_model_is_sent_in_one_commit(rdrop, hub, run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (run / "best/notes.txt").write_text("secret texts")
    (run / "best/checkpoint").mkdir()
    (run / "best/checkpoint/optimizer.pt").touch()
    told = rdrop.json("push", run.name, "me/reviews", "--yes")
    assert published(hub) == sorted(MODEL + EXPORT)
    assert [line[0] for line in commits(hub)] == ["header"]
    assert sorted(file["path"] for file in told["files"]) == sorted(MODEL + EXPORT)
    folder = hub / "models/me/reviews"
    assert all((folder / file["path"]).stat().st_size == file["bytes"] for file in told["files"])
    assert {entry["path"]: entry["reason"] for entry in told["left_out"]} == {
        "checkpoint/optimizer.pt": "not part of the model",
        "manifest.json": "the hub has checksums of its own",
        "notes.txt": "not part of the model",
    }
    assert (told["repo"], told["url"]) == ("me/reviews", f"{os.environ['HF_ENDPOINT']}/me/reviews")
    assert (told["commit"], told["private"], told["deleted"]) == ("a" * 40, False, [])
    assert before == {path: path.read_bytes() for path in before}


def test_nothing_of_this_machine_is_sent(rdrop, hub, run, tiny_model):
    best = run / "best"
    for name, key in (("config.json", "_name_or_path"), ("tokenizer_config.json", "special_tokens_map_file")):
        content = json.loads((best / name).read_text())
        (best / name).write_text(json.dumps({**content, key: str(Path.home() / "cache/tokens.json")}))
    (best / "manifest.json").unlink()  # the tokenizer's configuration was changed on purpose
    (best / "README.md").write_text(
        f"{(best / 'README.md').read_text()}\nFrom `{tiny_model}` and {Path.cwd() / 'reviews.csv'}, as {run}.\n"
    )
    rdrop("push", run, "me/reviews", "--yes")
    for path in (hub / "models/me/reviews").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for secret in (Path.cwd(), Path.home() / "cache", tiny_model, tiny_model.parent, Path(sys.prefix)):
            assert str(secret).encode() not in content, path
    assert "From `tiny-bert` and reviews.csv" in (hub / "models/me/reviews/README.md").read_text()
    assert "_name_or_path" not in json.loads((hub / "models/me/reviews/config.json").read_text())


def test_the_card_has_intervals_and_their_limits(rdrop, hub, run):
    rdrop("push", run, "me/reviews", "--yes")
    card = ModelCard.load(hub / "models/me/reviews/README.md")
    accuracy = json.loads((run / "metrics.json").read_text())["test"]["accuracy"]
    (row,) = [line for line in card.text.splitlines() if line.startswith("| accuracy | ")]
    assert f"| {accuracy:.4f} |" in row
    low, high = map(float, row.split(" | ")[2].removesuffix(" |").split(" to "))
    assert 0 < low <= accuracy <= high <= 1
    for part in (
        "bootstrap over the 20 test examples", "too narrow: fewer than 50 test examples",
        "This is one run, with seed 42", "selected on validation, by f1; the test split was used once",
        "rdrop evaluate me/reviews DATA",
        'pipeline("text-classification", "me/reviews")',
    ):  # fmt: skip
        assert part in card.text
    assert {result.metric_type for result in card.data.eval_results} == {"accuracy", "f1", "roc_auc"}


def test_what_is_sent_and_where_is_shown_with_what_comes_next(rdrop, hub, run):
    shown = rdrop("push", run, "me/reviews", "--yes").stdout
    assert f"To {os.environ['HF_ENDPOINT']}/me/reviews, a new public repository: 9 files, " in shown
    assert all(name in shown for name in MODEL + EXPORT)
    assert "Left out of best/: manifest.json (the hub has checksums of its own)" in shown
    assert f"Published: {os.environ['HF_ENDPOINT']}/me/reviews (public, commit aaaaaaaa)" in shown
    assert "Next: rdrop evaluate me/reviews DATA" in shown
    assert 'Next: rdrop predict --checkpoint me/reviews "some text"' in shown


def test_a_dry_run_sends_nothing(rdrop, hub, run):
    shown = rdrop("push", run, "me/reviews", "--dry-run", "--private").stdout
    assert "a new private repository" in shown and "Nothing was sent (--dry-run)" in shown
    told = rdrop.json("push", run, "me/reviews", "--dry-run")
    assert (told["commit"], len(told["files"])) == (None, 9)
    assert not (hub / "models").exists()


def test_it_asks_first(rdrop, hub, run, asked):
    refused = rdrop("push", run, "me/reviews", stdin=b"n\n", code=1)
    assert "Publish 9 files, " in refused.stderr and "as me/reviews, where everyone can see it?" in refused.stderr
    assert "Nothing was published" in refused.stdout
    assert not (hub / "models").exists()
    rdrop("push", run, "me/reviews", stdin=b"y\n")
    assert len(commits(hub)) == 1


def test_without_a_terminal_it_needs_yes(rdrop, hub, run):
    message = rdrop.error("push", run, "me/reviews", code=2)
    assert "give --yes to publish without asking" in message
    assert not (hub / "models").exists()


def test_an_export_that_is_out_of_date_stays_behind_and_goes_from_the_hub(rdrop, hub, run):
    rdrop("push", run, "me/reviews", "--yes")
    for name in (".gitattributes", "model-00001-of-00002.safetensors", "picture.png"):
        (hub / "models/me/reviews" / name).touch()
    (run / "best/onnx/model.onnx").write_bytes(b"damaged")
    shown = rdrop("push", run, "me/reviews", "--yes", "--message", "Again").stdout
    assert "Left out of best/: onnx/ (model.onnx has 7 bytes instead of " in shown
    assert "Stays on the hub as it is: .gitattributes, picture.png" in shown
    assert "public repository that exists" in shown
    rows = {line.split()[1]: line for line in shown.splitlines() if line.startswith("│")}
    assert "replaced" in rows["model.safetensors"]
    assert all("deleted" in rows[name] for name in [*EXPORT, "model-00001-of-00002.safetensors"])
    assert published(hub) == sorted([".gitattributes", "picture.png", *MODEL])


def test_a_private_repository_is_private_from_the_start(rdrop, hub, run):
    assert rdrop.json("push", run, "me/hidden", "--private", "--yes")["private"] is True
    assert rdrop.json("push", run, "me/hidden", "--yes")["private"] is True  # it stays so
    rdrop("push", run, "me/open", "--yes")
    message = rdrop.error("push", run, "me/open", "--private", "--yes")
    assert message.endswith(
        "error: me/open: exists and is public. Make it private on the hub first, or leave out --private."
    )
    assert len(commits(hub)) == 3


TROUBLES = {
    "401": "does not accept your token (401). Log in with: hf auth login. Or set HF_TOKEN",
    "403": "refuses (403 Forbidden",
    "500": "answered 500 Internal Server Error",
    "full": "refuses the weights: Storage limit reached. The hub shows all files of a push or none of them",
    "late": "answered 413",
    "cut": "failed (Server disconnected without sending a response). The hub shows all files of a push or none",
    "moved": "has changed on the hub in the meantime. Push again",
}


@pytest.mark.parametrize("owner", TROUBLES)
def test_each_trouble_is_one_line_without_a_secret_and_leaves_nothing_half_visible(hub, run, owner, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", os.environ["HF_ENDPOINT"].replace("//", "//somebody:s3cret@"))
    if owner == "moved":
        (hub / "models/moved/model").mkdir(parents=True)
    from rdrop_cli.app import app

    command = ["push", str(run), f"{owner}/model", "--yes"]
    plain = CliRunner().invoke(app, [*command, "--json"])
    assert (plain.exit_code, plain.stdout) == (1, "")
    (line,) = [line for line in plain.stderr.splitlines() if line.startswith("error: ")]
    assert TROUBLES[owner] in line
    assert plain.stderr.endswith(line + "\n")
    failed = CliRunner().invoke(app, [*command, "--debug"])
    told = plain.stderr + failed.output + "".join(traceback.format_exception(failed.exception))
    assert "Traceback" in told
    assert TOKEN not in told and "s3cret" not in told and "somebody" not in told
    assert published(hub, f"{owner}/model") == []


def test_a_hub_is_asked_only_with_a_token_and_a_network(rdrop, hub, run, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_a\x01b")
    assert "the token has characters that no token has" in rdrop.error("push", run, "me/reviews", "--yes")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    message = (
        "error: not logged in on the hub. Log in with: hf auth login. Or set HF_TOKEN to a token with write permission."
    )
    assert rdrop.error("push", run, "me/reviews", "--yes") == message
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    message = "error: offline mode is on, so nothing can be published. Unset HF_HUB_OFFLINE."
    assert rdrop.error("push", run, "me/reviews", "--yes") == message


def test_only_a_finished_and_intact_run_is_published(rdrop, hub, run, monkeypatch):
    with only_writer(run):
        assert "another process is writing to this folder" in rdrop.error("push", run, "me/reviews", "--yes")
    weights = run / "best/model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"?")
    message = rdrop.error("push", run, "me/reviews", "--yes")
    assert "best: model.safetensors has changed since it was written" in message
    assert f"rdrop train --resume --out {run.absolute()}" in message  # the remedy: from a checkpoint
    weights.write_bytes(content)
    (run / "metrics.json").unlink()
    assert "its training is not finished" in rdrop.error("push", run, "me/reviews", "--yes")
    assert "gone: no such run in runs" in rdrop.error("push", "gone", "me/reviews", "--yes")
    assert "expected OWNER/NAME" in rdrop.error("push", run, "reviews", "--yes", code=2)
    assert "--message is empty" in rdrop.error("push", run, "me/reviews", "--yes", "--message", " ", code=2)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "one process publishes" in rdrop.error("push", run, "me/reviews", "--yes", code=2)
    assert not (hub / "models").exists()


def test_what_is_published_is_read_back_with_the_same_results(rdrop, hub, calibrated_run, tmp_path):
    """With the temperature and the threshold, which only rdrop knows."""
    run = shutil.copytree(calibrated_run, "runs/mine")
    save_threshold(Path(run), Threshold(0.6, "1", "f1", "validation", 120))
    data = write_csv(Path("held.csv"), make_noisy_reviews(460)[400:])
    rdrop("push", "mine", "me/reviews", "--yes")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "rdrop_cli", "evaluate", "me/reviews", str(data), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    back, own = json.loads(done.stdout), rdrop.json("evaluate", "mine", data)
    assert back["threshold"]["value"] == 0.6
    for key in (
        "metrics",
        "intervals",
        "threshold",
        "at_threshold",
        "confusion_matrix",
        "labels",
        "columns",
        "precision",
    ):
        assert back[key] == own[key], key
