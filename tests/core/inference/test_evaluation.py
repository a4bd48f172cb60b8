"""Evaluating from Python is what `rdrop evaluate` does."""

import pytest

from conftest import make_reviews, run_python, write_csv
from rdrop_cli.core.data.columns import ColumnNames
from rdrop_cli.core.inference.evaluation import evaluate
from rdrop_cli.errors import CheckpointError

NAMES = {"0": "bad", "1": "good"}


@pytest.fixture
def other_columns(tmp_path):
    rows = [(text, NAMES[str(label)]) for text, label in make_reviews(60, seed=9)]
    return str(write_csv(tmp_path / "other.csv", [*rows, ("", "good")], header=("words", "stars")))


def test_a_runs_own_split_is_evaluated_as_by_the_command(rdrop, trained):
    told = []
    evaluated = evaluate(trained["run_dir"], on_progress=lambda *stage: told.append(stage))
    assert evaluated.as_dict() == rdrop.json("evaluate", trained["run_dir"])
    assert evaluated.as_dict()["metrics"] == trained["metrics"]["test"]
    assert evaluated.is_own_data and evaluated.rival is None
    assert ("Classifying", 20, 20) in told and ("Resampling", 2000, 2000) in told


def test_named_data_and_a_rival_are_evaluated_as_by_the_command(rdrop, trained, other_columns, tiny_args):
    options = ["--epochs", "1", "--alpha", "0", "--set", "data.label_names=['1','0']", "--out", "rival"]
    rdrop("train", "reviews.csv", *tiny_args, *options)
    evaluated = evaluate(
        trained["run_dir"],
        other_columns,
        columns=ColumnNames("words", "stars"),
        label_map={"bad": "0", "good": "1"},
        allow_rejects=True,
        positive_label="0",
        against="rival",
        batch_size=8,
    )
    flags = ["--text-column", "words", "--label-column", "stars", "--label-map", "bad=0,good=1", "--allow-rejects"]
    flags += ["--positive-label", "0", "--against", "rival", "--batch-size", "8"]
    document = rdrop.json("evaluate", trained["run_dir"], other_columns, *flags)
    assert evaluated.as_dict() == document
    assert document["left_out"] == {"words is empty": 1} and document["positive_label"] == "0"
    assert list(document)[-2:] == ["seen", "against"]
    assert document["against"]["metrics"]["accuracy"] == evaluated.rival.compared.metrics[1]["accuracy"]


def test_a_rival_for_other_classes_is_refused(rdrop, trained, tmp_path, tiny_args):
    data = write_csv(tmp_path / "stars.csv", [(text, NAMES[str(label)]) for text, label in make_reviews(100)])
    rdrop("train", data, *tiny_args, "--epochs", "1", "--out", "stars")
    with pytest.raises(CheckpointError, match="its classes are bad, good, not 0, 1"):
        evaluate(trained["run_dir"], against="stars")


@pytest.mark.parametrize("arguments", ["'gone'", "RUN, 'gone.csv'", "RUN, split='dev'", "RUN, against='gone'"])
def test_what_is_missing_is_said_before_anything_heavy_is_imported(trained, arguments):
    code = (
        "import sys\n"
        "from rdrop_cli.core.inference.evaluation import evaluate\n"
        "from rdrop_cli.errors import RDropError\n"
        f"try: evaluate({arguments.replace('RUN', repr(trained['run_dir']))})\n"
        "except RDropError: print({'torch', 'scipy', 'sklearn'} & set(sys.modules))"
    )
    done = run_python(code)
    assert done.stdout == "set()\n"
