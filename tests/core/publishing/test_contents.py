"""What of a run may be published, and what its card says where something is missing."""

import json
import shutil
from pathlib import Path

import pytest

from rdrop_cli.core.publishing.contents import gather, may_be_published
from rdrop_cli.core.publishing.local_paths import LocalPaths
from rdrop_cli.errors import CheckpointError


@pytest.fixture
def run(finished_run):
    return Path(shutil.copytree(finished_run, Path("runs/mine")))


def card_of(contents):
    (content,) = [file.content for file in contents.files if file.path == "README.md"]
    return content.decode()


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("model.safetensors", True),
        ("model-00002-of-00003.safetensors", True),
        ("model.safetensors.index.json", True),
        ("adapter.safetensors", False),
        ("pytorch_model.bin", False),
        ("vocab.txt", True),
        ("texts.txt", False),
        ("chat/vocab.txt", False),
        ("onnx/model.onnx.data", True),
        ("onnx/vocab.txt", False),
        ("manifest.json", False),
        ("test-predictions.parquet", False),
    ],
)
def test_only_known_names_are_published(path, allowed):
    assert may_be_published(path) is allowed


def test_a_path_is_reduced_to_its_name_and_nothing_else_is():
    paths = LocalPaths(("/data/my reviews.csv", "models/small"), ("/home/me",))
    text = "`/data/my reviews.csv`, (/home/me/a/b.csv), /home/me, models/small and https://x.org/home/me/a, /home/men"
    assert paths.hide(text) == "`my reviews.csv`, (b.csv), me, small and https://x.org/home/me/a, /home/men"


def test_names_of_classes_stay_as_they_are(run):
    config = json.loads((run / "best/config.json").read_text())
    labels = {"0": str(Path.cwd() / "a"), "1": "b"}
    (run / "best/config.json").write_text(json.dumps({**config, "id2label": labels, "origin": str(Path.cwd() / "c")}))
    (content,) = [file.content for file in gather(run, "me/x").files if file.path == "config.json"]
    assert json.loads(content)["id2label"] == labels
    assert json.loads(content)["origin"] == "c"


def test_without_a_test_split_the_card_says_that_results_are_optimistic(run):
    metrics = json.loads((run / "metrics.json").read_text())
    metrics.pop("test")
    (run / "metrics.json").write_text(json.dumps(metrics))
    card = card_of(gather(run, "me/x"))
    assert "There is no test split, so all results are optimistic" in card
    assert "95 % interval" not in card


def test_a_run_without_predictions_has_a_card_without_intervals(run):
    (run / "test-predictions.parquet").unlink()
    card = card_of(gather(run, "me/x"))
    assert "## Results on test" in card and "95 % interval" not in card


def test_a_card_that_was_removed_is_short_and_one_that_is_no_text_is_refused(run):
    (run / "best/README.md").unlink()
    assert card_of(gather(run, "me/x")).startswith("# x\n\n## Results on test\n")
    (run / "best/README.md").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"best/README\.md: is not UTF-8 text"):
        gather(run, "me/x")


def test_pairs_of_texts_are_used_from_a_file(run):
    card = json.loads((run / "best/rdrop.json").read_text())
    card["columns"]["text_pair"] = "second"
    (run / "best/rdrop.json").write_text(json.dumps(card))
    contents = gather(run, "me/x")
    assert contents.has_pairs
    assert "rdrop predict --checkpoint me/x --input FILE" in card_of(contents)
    assert "pipeline(" not in card_of(contents)


def test_a_model_with_code_of_its_own_is_refused(run):
    (run / "best/modeling_mine.py").touch()
    with pytest.raises(CheckpointError, match=r"modeling_mine\.py: the model needs Python code of its own"):
        gather(run, "me/x")


def test_without_a_best_model_there_is_nothing_to_publish(run):
    shutil.rmtree(run / "best")
    with pytest.raises(CheckpointError, match=r"runs/mine/best: folder not found\. .*--resume"):
        gather(run, "me/x")
