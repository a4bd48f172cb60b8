"""Labelled data to evaluate on, seen from different checkpoints."""

import pytest

from conftest import make_reviews, write_csv
from rdrop_cli.config import load_config
from rdrop_cli.core.data.columns import ColumnNames
from rdrop_cli.core.data.prepare import prepare_data
from rdrop_cli.core.inference.examples import examples_of_run, examples_of_source
from rdrop_cli.core.runs.checkpoint import Checkpoint
from rdrop_cli.errors import CheckpointError, DataError
from rdrop_cli.schema import HubConfig


def read(source, card, allow_rejects=False, **columns):
    return examples_of_source(
        source,
        "test",
        named=ColumnNames(**columns),
        checkpoint=Checkpoint("model", card=card),
        hub_config=HubConfig(),
        allow_rejects=allow_rejects,
        on_progress=lambda *_: None,
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


def test_named_columns_are_read_where_the_first_row_has_none(tmp_path):
    (tmp_path / "x.jsonl").write_text('broken\n{"title": "a", "text": "b", "label": 1}\n')
    examples = read("x.jsonl", {}, allow_rejects=True, text="title")
    assert (examples.texts, len(examples.rejected)) == (["a"], 1)


def test_a_checkpoint_without_a_run_has_no_data_of_its_own():
    with pytest.raises(CheckpointError, match="not part of a run"):
        examples_of_run(Checkpoint("a/b"), "test", lambda *_: None)


def test_columns_of_a_prepared_folder_cannot_be_chosen_again(tmp_path):
    source = write_csv(tmp_path / "r.csv", make_reviews(60))
    folder = str(prepare_data(load_config("starter", [("data.source", str(source))])).folder)
    assert len(read(folder, {}).texts) == 6
    with pytest.raises(DataError, match="is already prepared, so columns cannot be named"):
        read(folder, {}, text="nothing")
