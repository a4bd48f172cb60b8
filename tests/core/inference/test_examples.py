"""Labelled data to evaluate on, seen from different checkpoints."""

import pytest

from rdrop_cli.core.inference.examples import examples_of_run, examples_of_source
from rdrop_cli.core.runs.checkpoint import Checkpoint
from rdrop_cli.errors import CheckpointError
from rdrop_cli.schema import HubConfig


def read(source, card, **columns):
    named = {"text": None, "label": None, "text_pair": None, **columns}
    checkpoint = Checkpoint("model", card=card)
    return examples_of_source(
        source, "test", checkpoint=checkpoint, hub_config=HubConfig(), on_progress=lambda *_: None, **named
    )


def test_built_in_data_has_ids_and_their_names():
    examples = read("rotten-tomatoes", {})
    assert set(examples.labels) == {"0", "1"}
    assert examples.names == ("negative", "positive")


def test_the_checkpoints_columns_are_the_default_where_the_data_has_them(tmp_path):
    (tmp_path / "x.csv").write_text("title,text,label\na,b,1\n")
    columns = {"text": "title", "label": "stars", "text_pair": None}
    examples = read("x.csv", {"columns": columns})
    assert (examples.texts, examples.labels) == (["a"], ["1"])
    assert examples.where(0) == "x.csv, line 2"
    assert read("x.csv", {"columns": columns}, text="text").texts == ["b"]


def test_a_checkpoint_without_a_run_has_no_data_of_its_own():
    with pytest.raises(CheckpointError, match="no run is known"):
        examples_of_run(Checkpoint("a/b"), "test", lambda *_: None)
