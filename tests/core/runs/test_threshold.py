"""Thresholds in rdrop.json and in the model card."""

import json
from pathlib import Path

import pytest

from rdrop_cli.core.runs.checkpoint import Checkpoint
from rdrop_cli.core.runs.model_card import with_threshold
from rdrop_cli.core.runs.threshold import Threshold, read_threshold, run_to_save_in, save_threshold
from rdrop_cli.core.storage.lock import only_writer
from rdrop_cli.errors import CheckpointError

CHOSEN = Threshold(0.41, "spam", "f1", "validation", 557)
CARD = "# Model\n\n* Classes: `ham`, `spam`\n* Data fingerprint: `abc`\n\nMy own words.\n"


@pytest.fixture
def run():
    best = Path("run/best")
    best.mkdir(parents=True)
    (best / "rdrop.json").write_text('{"max_length": 32}')
    (best / "README.md").write_text(CARD)
    Path("run/metrics.json").write_text("{}")
    return Path("run")


def test_what_is_saved_is_read_again_and_can_be_removed(run):
    save_threshold(run, CHOSEN)
    card = json.loads((run / "best/rdrop.json").read_text())
    assert card == {"max_length": 32, "threshold": CHOSEN.as_dict()}
    assert read_threshold(card, "rdrop.json", ("ham", "spam")) == CHOSEN
    save_threshold(run, None)
    assert json.loads((run / "best/rdrop.json").read_text()) == {"max_length": 32}
    assert (run / "best/README.md").read_text() == CARD


def test_the_model_card_has_one_line_about_it_and_keeps_everything_else(run):
    save_threshold(run, Threshold(0.2, "spam"))
    save_threshold(run, CHOSEN)
    text = (run / "best/README.md").read_text()
    line = "* Decision threshold: spam from a probability of 0.41, chosen for f1 on validation; rdrop applies it\n"
    assert text == CARD.replace("* Data", line + "* Data")
    (run / "best/README.md").unlink()
    save_threshold(run, CHOSEN)
    assert not (run / "best/README.md").exists()
    assert with_threshold("Rewritten.\n", CHOSEN) == "Rewritten.\n"
    assert "\\<b\\>" in with_threshold(CARD, Threshold(0.5, "<b>\n"))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (0.4, "threshold must be an object, got '0.4'"),
        ({"label": "spam"}, "threshold.value must be a number above 0 and below 1, got 'None'"),
        ({"value": 0, "label": "spam"}, "threshold.value must be a number above 0 and below 1"),
        ({"value": 1.0, "label": "spam"}, "threshold.value must be a number above 0 and below 1"),
        ({"value": float("nan"), "label": "spam"}, "threshold.value must be a number above 0 and below 1"),
        ({"value": True, "label": "spam"}, "threshold.value must be a number above 0 and below 1"),
        ({"value": "0.4", "label": "spam"}, "threshold.value must be a number above 0 and below 1"),
        ({"value": 10**400, "label": "spam"}, "threshold.value must be a number above 0 and below 1"),
        ({"value": 0.4}, "threshold.label must be one of the classes ham, spam, got 'None'"),
        ({"value": 0.4, "label": "eggs"}, "threshold.label must be one of the classes ham, spam, got 'eggs'"),
    ],
)
def test_what_is_no_threshold_is_refused(record, message):
    with pytest.raises(CheckpointError) as raised:
        read_threshold({"threshold": record}, "best/rdrop.json", ("ham", "spam"))
    assert str(raised.value).startswith(f"best/rdrop.json: {message}")


def test_only_two_classes_have_a_threshold():
    record = {"threshold": {"value": 0.4, "label": "a"}}
    with pytest.raises(CheckpointError, match="threshold needs exactly two classes, got '3'"):
        read_threshold(record, "rdrop.json", ("a", "b", "c"))
    assert read_threshold({}, "rdrop.json", ("a", "b", "c")) is None


def test_it_is_saved_only_with_the_best_model_of_a_finished_run(run):
    best = Checkpoint(str(run / "best"), run)
    assert run_to_save_in(best) == run
    for other in (Checkpoint("owner/name"), Checkpoint(str(run / "checkpoints/checkpoint-9"), run)):
        with pytest.raises(CheckpointError, match="saved with the best model of a run"):
            run_to_save_in(other)
    with only_writer(run), pytest.raises(CheckpointError, match="another process is writing to this folder"):
        run_to_save_in(best)
    (run / "metrics.json").unlink()
    with pytest.raises(CheckpointError, match="its training is not finished"):
        run_to_save_in(best)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.5, "0.5"), (0.41237, "0.4124"), (0.99999, "0.99999"), (1e-7, "0.0000001"), (0.1, "0.1")]
)
def test_a_threshold_is_never_shown_as_0_or_1(value, shown):
    assert str(Threshold(value, "spam")) == f"Threshold {shown} for spam"
