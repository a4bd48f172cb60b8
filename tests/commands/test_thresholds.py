"""Thresholds and abstaining: chosen and shown by `rdrop evaluate`, applied by `rdrop predict`."""

import contextlib
import csv
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from conftest import CLI, make_reviews, tiny_options, write_csv
from rdrop_cli import load
from rdrop_cli.core.inference import decisions
from rdrop_cli.core.inference.backends.choice import open_classifier
from rdrop_cli.core.metrics.predictions import Predictions
from rdrop_cli.core.metrics.thresholds import Rule
from rdrop_cli.core.runs.checkpoint import find_checkpoint
from rdrop_cli.core.runs.threshold import Threshold, save_threshold
from rdrop_cli.core.storage import lock
from rdrop_cli.errors import ConfigError, DataError

TEXTS = ["great movie", "a dull awful boring mess", "the plot", "great and dull", "was it with some film"]


@pytest.fixture(scope="module")
def noisy_once(tiny_model, tmp_path_factory):
    """A folder with a run on reviews of which a fifth is labelled wrongly, spam and ham."""
    folder = tmp_path_factory.mktemp("noisy")
    rng = random.Random(1)
    rows = [(text, ["ham", "spam"][label ^ (rng.random() < 0.2)]) for text, label in make_reviews(400)]
    write_csv(folder / "noisy.csv", rows)
    options = ["--no-export", *tiny_options(tiny_model), "--alpha", "0", "--epochs", "5"]
    with contextlib.chdir(folder):
        CLI()("train", "noisy.csv", *options, "--set", "data.validation=0.3", "--set", "data.test=0.2", "--out", "run")
    return folder


@pytest.fixture
def noisy(noisy_once, tmp_path):
    """A copy of that run; its data stays where it is."""
    shutil.copytree(noisy_once / "run", tmp_path / "run")
    return tmp_path / "run"


def scores_of(noisy_once, split):
    """Whether the examples of a split are spam, and the probabilities for it, without the command."""
    from rdrop_cli.core.inference.examples import examples_of_run

    run = find_checkpoint(str(noisy_once / "run"))
    examples = examples_of_run(run, split, lambda *_: None)
    found = load(noisy_once / "run").predict(examples.texts)
    labels = np.array([label == "spam" for label in examples.labels])
    return labels, np.array([item.probabilities["spam"] for item in found])


def measured(labels, scores, threshold):
    given = scores >= threshold
    hits = (given & labels).sum()
    return {
        "accuracy": float((given == labels).mean()),
        "precision": hits / given.sum(),
        "recall": hits / labels.sum(),
        "f1": 2 * hits / (given.sum() + labels.sum()),
    }


@pytest.mark.parametrize("rule", ["f1", "precision=0.9", "recall=0.9"])
def test_a_threshold_is_chosen_on_validation_and_measured_on_test(rdrop, noisy_once, noisy, rule):
    found = rdrop.json("evaluate", "run", "--choose-threshold", rule)
    threshold, curve = found["threshold"], found["threshold"]["curve"]
    assert {name: threshold[name] for name in ("label", "rule", "split", "examples", "saved")} == {
        "label": "spam", "rule": rule, "split": "validation", "examples": 120, "saved": False
    }  # fmt: skip
    labels, scores = scores_of(noisy_once, "validation")
    tried = {float(value): measured(labels, scores, value) for value in (row["threshold"] for row in curve)}
    assert len(tried) == len(set(scores))
    for row in curve:
        assert row["f1"] == pytest.approx(tried[row["threshold"]]["f1"])
    metric, _, wanted = rule.partition("=")
    if metric == "f1":
        assert tried[threshold["value"]]["f1"] == pytest.approx(max(row["f1"] for row in tried.values()))
    else:
        reached = [value for value, row in tried.items() if row[metric] >= float(wanted)]
        assert threshold["value"] == (min(reached) if metric == "precision" else max(reached))
    on_test = measured(*scores_of(noisy_once, "test"), threshold["value"])
    assert {name: found["at_threshold"][name] for name in on_test} == pytest.approx(on_test)
    assert found["metrics"] == rdrop.json("evaluate", "run")["metrics"], "those of the most probable class"


def test_it_is_shown_with_its_curve_and_beside_the_most_probable_class(rdrop, noisy):
    shown = rdrop("evaluate", "run", "--choose-threshold", "recall=0.9").stdout
    assert "Thresholds for spam on validation (120 examples, " in shown
    assert shown.count("chosen") == 2, "in the curve, and in the title of what it gives"
    assert "chosen for recall=0.9 on validation; on test it gives" in shown
    assert "the most probable class" in shown and "Confusion matrix with the threshold" in shown
    assert "It is not saved; for rdrop predict to use it, add --save-threshold" in shown
    on_validation = rdrop("evaluate", "run", "--choose-threshold", "f1", "--split", "validation").stdout
    assert "The threshold was chosen on validation: this is no test of it" in on_validation


def test_the_positive_class_is_the_one_that_was_named(rdrop, noisy_once, noisy):
    found = rdrop.json("evaluate", "run", "--choose-threshold", "recall=0.9", "--positive-label", "ham")
    assert found["threshold"]["label"] == "ham"
    labels, scores = scores_of(noisy_once, "test")
    assert found["at_threshold"]["recall"] == pytest.approx(
        measured(~labels, 1 - scores, found["threshold"]["value"])["recall"]
    )


def test_on_other_data_it_is_still_chosen_on_the_runs_own_validation(rdrop, noisy, tmp_path):
    other = write_csv(
        tmp_path / "other.csv", [(text, ["ham", "spam"][label]) for text, label in make_reviews(60, seed=9)]
    )
    own = rdrop.json("evaluate", "run", "--choose-threshold", "f1")
    found = rdrop.json("evaluate", "run", other, "--choose-threshold", "f1")
    assert found["threshold"] == own["threshold"]
    assert sum(map(sum, found["at_threshold"]["confusion_matrix"])) == 60


def test_a_saved_threshold_is_used_until_it_is_removed(rdrop, noisy):
    before = {path: path.read_bytes() for path in noisy.rglob("*") if path.is_file()}
    result = rdrop("evaluate", "run", "--choose-threshold", "recall=0.95", "--save-threshold")
    assert "rdrop predict uses it now" in result.stdout
    saved = json.loads((noisy / "best/rdrop.json").read_text())["threshold"]
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed == {"rdrop.json", "README.md"}
    assert "* Decision threshold: spam from a probability of" in (noisy / "best/README.md").read_text()
    line = str(Threshold(**saved))
    assert line.removeprefix("Threshold ") in " ".join(rdrop("runs", "show", "./run").stdout.split())
    assert rdrop.json("runs", "show", "./run")["threshold"] == saved
    later = rdrop.json("evaluate", "run")
    assert later["threshold"] == {**saved, "saved": True}
    assert later["at_threshold"]["recall"] >= later["metrics"]["recall"]
    assert f"{line}; on test it gives" in rdrop("evaluate", "run").stdout
    assert rdrop.json("evaluate", "run", "--choose-threshold", "none")["threshold"] is None
    assert "no threshold is saved" in rdrop("evaluate", "run", "--choose-threshold", "none", "--save-threshold").stdout
    assert {path: path.read_bytes() for path in noisy.rglob("*") if path.is_file()} == before


def test_what_cannot_be_chosen_or_saved_is_said_in_a_line(rdrop, noisy, tmp_path):
    assert "there is nothing to save" in rdrop.error("evaluate", "run", "--save-threshold")
    for rule in ("f2", "precision", "precision=", "recall=0", "recall=1.1", "f1=0.5", "precision=nan"):
        assert "must be f1, precision=P, recall=R or none" in rdrop.error("evaluate", "run", "--choose-threshold", rule)
    shutil.copytree(noisy / "best", tmp_path / "alone")
    data = write_csv(tmp_path / "other.csv", [("great", "spam"), ("dull", "ham")])
    for more in ([], ["--save-threshold"]):
        message = rdrop.error("evaluate", "alone", data, "--choose-threshold", "f1", *more)
        assert "alone: not part of a run, so it has no validation split" in message
    with lock.only_writer(noisy):
        message = rdrop.error("evaluate", "run", "--choose-threshold", "f1", "--save-threshold")
    assert "another process is writing" in message
    with pytest.raises(DataError, match="--choose-threshold needs exactly two classes, but this checkpoint has 6"):
        decisions.check_classes(Rule("f1"), 6)


def test_a_precision_that_cannot_be_reached_says_what_can(rdrop, noisy, monkeypatch):
    found = Predictions(np.array([0, 1, 1, 0]), np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.9, 0.1]]))
    monkeypatch.setattr(decisions, "_classify_validation", lambda *_: found)
    message = rdrop.error("evaluate", "run", "--choose-threshold", "precision=0.95")
    assert message.endswith(
        "no threshold for precision=0.95 of spam: the highest precision is 0.6667, at recall 1.0000 on validation"
    )


def test_accuracy_where_unsure_texts_get_no_label(rdrop, noisy_once, noisy):
    table = rdrop.json("evaluate", "run")["risk_coverage"]["table"]
    labels, scores = scores_of(noisy_once, "test")
    confidence = np.maximum(scores, 1 - scores)
    for row, share in zip(table, (1.0, 0.95, 0.9, 0.8, 0.7, 0.5), strict=True):
        kept = confidence >= row["confidence"] - 1e-9
        assert kept.sum() == row["labelled"] == pytest.approx(80 * share, abs=1)
        assert row["errors"] == ((scores > 0.5) != labels)[kept].sum()
    assert "rdrop predict --abstain-below 0." in rdrop("evaluate", "run").stdout
    shown = rdrop("evaluate", "run", "--coverage").stdout
    assert "Where the least confident examples of test get no label (AURC 0." in shown
    assert "100.0%" in shown and "--abstain-below" not in shown


@pytest.fixture(params=["torch", "onnx"])
def backend(request):
    return ["--backend", request.param]


@pytest.fixture
def moved(exported):
    """A run that predicts 0 only where it is almost sure, with an export."""
    save_threshold(Path(exported["run_dir"]), Threshold(0.01, "1", "recall=0.99", "validation", 20))
    return exported


def read(path):
    """The labels and scores of a file of predictions."""
    if path.endswith("parquet"):
        return [(row["label"], row["score"]) for row in pq.read_table(path).to_pylist()]
    if path.endswith("jsonl"):
        rows = map(json.loads, Path(path).read_text().splitlines())
        return [(row["label"], row["score"]) for row in rows]
    with Path(path).open(newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t" if path.endswith("tsv") else ",")
        return [(row["label"] or None, float(row["score"])) for row in rows]


def test_predictions_follow_the_saved_threshold(rdrop, moved, backend):
    result = rdrop("predict", *TEXTS, "--json", *backend)
    document = json.loads(result.stdout)
    assert document["threshold"]["value"] == 0.01
    assert "Threshold 0.01 for 1, chosen for recall=0.99 on validation" in result.stderr
    labels = [item["label"] for item in document["predictions"]]
    assert labels == ["1" if item["probabilities"]["1"] >= 0.01 else "0" for item in document["predictions"]]
    for item in document["predictions"]:
        assert item["score"] == item["probabilities"][item["label"]]
    plain = rdrop.json("predict", *TEXTS, "--threshold", "none", *backend)
    assert "threshold" not in plain
    assert [item["label"] for item in plain["predictions"]] != labels
    other = rdrop.json("predict", *TEXTS, "--threshold", "0.999", *backend)
    assert other["threshold"] == {"value": 0.999, "label": "1", "rule": None, "split": None, "examples": None}
    assert {item["label"] for item in other["predictions"]} <= {
        "1" if item["probabilities"]["1"] >= 0.999 else "0" for item in other["predictions"]
    }
    predictor = load(moved["run_dir"], backend=backend[1])
    assert [item.label for item in predictor.predict(TEXTS)] == labels
    assert predictor.threshold.value == 0.01


def test_an_export_stays_valid_when_a_threshold_is_saved(rdrop, moved):
    assert rdrop.json("predict", "great")["backend"] == "onnx"
    found = rdrop.json("runs", "verify")
    assert [run["outcome"] for run in found["runs"]] == ["intact"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet", "csv.gz"])
def test_every_file_leaves_out_the_labels_of_unsure_texts(rdrop, exported, suffix, backend):
    Path("in.txt").write_text("\n".join(TEXTS) + "\n")
    everything = rdrop.json("predict", "--input", "in.txt", *backend)["predictions"]
    limit = sorted(item["score"] for item in everything)[2]  # which is not below itself
    options = ["--input", "in.txt", "--output", f"out.{suffix}", "--abstain-below", limit, *backend]
    result = rdrop("predict", *options)
    assert f"2 of 5 texts got no label (below {limit})" in result.stderr
    if suffix == "csv.gz":
        import gzip

        Path("out.csv").write_bytes(gzip.decompress(Path("out.csv.gz").read_bytes()))
    found = read(f"out.{suffix.removesuffix('.gz')}")
    expected = [(item["label"] if item["score"] >= limit else None, item["score"]) for item in everything]
    assert [label for label, _ in found] == [label for label, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], rel=1e-5)
    document = rdrop.json("predict", *options)
    assert document["count"] == 5 and document["without_label"] == 2
    assert sum(document["labels"].values()) == 3


def test_typed_texts_lines_and_streams_leave_labels_out_too(rdrop, exported, backend):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()
    options = ["--abstain-below", "0.9999999", *backend]
    shown = rdrop("predict", *TEXTS, *options).stdout
    assert shown.count("–") == len(TEXTS)
    assert "5 of 5 texts got no label (below 0.9999999)" in shown
    document = rdrop.json("predict", *TEXTS, *options)
    assert document["without_label"] == 5 and document["abstain_below"] == 0.9999999
    assert {item["label"] for item in document["predictions"]} == {None}
    piped = rdrop("predict", "--input", "-", "--input-format", "jsonl", *options, stdin=lines)
    assert [line.split("\t")[0] for line in piped.stdout.splitlines()] == [""] * 5
    served = rdrop("predict", "--input", "-", "--output", "-", *options, stdin=lines)
    assert [json.loads(line)["label"] for line in served.stdout.splitlines()] == [None] * 5
    assert "5 of 5 texts got no label" in served.stderr
    assert [item.label for item in load(exported["run_dir"]).predict(TEXTS, abstain_below=0.9999999)] == [None] * 5


def test_with_a_threshold_it_is_the_given_labels_probability_that_counts(rdrop, moved):
    found = rdrop.json("predict", *TEXTS, "--abstain-below", "0.6")["predictions"]
    for item in found:
        given = "1" if item["probabilities"]["1"] >= 0.01 else "0"
        assert item["score"] == item["probabilities"][given]
        assert item["label"] == (given if item["score"] >= 0.6 else None)


@pytest.mark.parametrize("value", ["0", "1", "-0.5", "nan", "x"])
def test_numbers_that_are_no_probabilities_are_refused(rdrop, exported, value):
    rdrop.error("predict", "great", "--abstain-below", value, code=2)
    message = rdrop.error("predict", "great", "--threshold", value)
    assert "must be a number above 0 and below 1, or none" in message
    if value != "x":
        with pytest.raises(ConfigError, match="above 0 and below 1"):
            load(exported["run_dir"]).predict(["great"], abstain_below=float(value))


def test_a_record_that_is_no_threshold_is_refused_in_a_line(rdrop, exported, backend):
    path = Path(exported["checkpoint"], "rdrop.json")
    for record in ({"value": 1.5, "label": "1"}, {"value": 0.5, "label": "spam"}):
        path.write_text(json.dumps({**json.loads(path.read_text()), "threshold": record}))
        message = rdrop.error("predict", "great", *backend)
        assert "rdrop.json: threshold." in message and message.endswith("Correct it, or remove the key.")


def test_of_three_classes_none_can_be_moved(exported):
    classifier = open_classifier(find_checkpoint(exported["run_dir"]), backend="onnx")
    classifier.backend.labels = type(classifier.labels)(("a", "b", "c"))
    with pytest.raises(ConfigError, match="a threshold needs exactly two classes, but this checkpoint has 3"):
        classifier.move_threshold(0.4)
