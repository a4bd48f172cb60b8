"""The report of a run: what it shows, and what it says where a source is missing."""

import json
import os
import re
import shlex

import numpy as np
import pytest

from conftest import run_python
from rdrop_cli.config import differences, load_config, parse_assignment
from rdrop_cli.core.metrics.calibration import Temperature, calibrated_metrics
from rdrop_cli.core.metrics.predictions import Predictions
from rdrop_cli.core.report import run_documents
from rdrop_cli.core.report.run_settings import training_command
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.outputs import load_predictions, save_outputs
from rdrop_cli.core.storage.integrity import with_checksum
from rdrop_cli.errors import CheckpointError, StorageError
from report_cases import make
from report_pages import Page


def test_it_shows_every_section_and_leaves_nothing_out(reported):
    page, written = reported
    few = "No temperature was fitted: 20 validation examples are too few (at least 50)."
    assert written.left_out == [("Calibration", few)]
    assert page.headings() == [
        "At a glance", "Learning curves", "Classes and confusions", "ROC and precision-recall", "Calibration",
        "Abstaining and thresholds", "Short and long texts", "Most confident errors", "Data", "Settings and versions",
    ]  # fmt: skip
    assert page.tags.count("svg") >= 8
    assert page.tags.count("svg") == page.tags.count("details") == page.tags.count("figcaption")
    assert written.size < 2_000_000


def test_the_figures_are_those_of_the_run(reported, run):
    page, _ = reported
    metrics = json.loads((run / layout.METRICS).read_text())
    assert f"{metrics['test']['accuracy']:.4f}" in page.text and f"{metrics['validation']['nll']:.4f}" in page.text
    assert "rdrop train" in page.text and "--alpha 1" in page.text


def test_the_command_is_one_that_makes_the_same_configuration_whatever_classes_are_called():
    given = [("train.class_weights", {"comp.graphics": 2, "sci.space": 1}), ("data.label_map", {"a=b": "sci.space"})]
    config = load_config(None, given)
    assignments = shlex.split(training_command(config))[7:]
    assert assignments[::2] == ["--set", "--set"]
    again = load_config(None, [parse_assignment(text) for text in assignments[1::2]])
    assert differences(config, again) == []


def test_every_cell_of_the_confusion_matrix_has_its_count(hostile):
    page, _ = hostile
    matrix = page.html.partition('id="picture-confusion"')[2].partition("</figure>")[0]
    cells = [text for text in Page(f"<figure {matrix}</figure>").texts_of["text"] if text.isdecimal()]
    assert len(cells) == 36 and sum(map(int, cells)) == 90


def test_the_page_asks_for_nothing_and_runs_nothing(reported):
    page, _ = reported
    assert page.policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert not {"script", "link", "iframe", "img", "object", "embed", "form"} & set(page.tags)
    assert "http" not in re.sub(r"http-equiv", "", page.html)
    assert all(reference.startswith("#") for reference in page.references())
    assert not any(name.startswith("on") for _, name, _ in page.attributes)


def test_names_inside_the_page_are_unique_and_lead_somewhere(reported):
    page, _ = reported
    ids = page.ids()
    assert len(ids) == len(set(ids))
    assert {reference[1:] for reference in page.references()} <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", page.html)) <= set(ids)


def test_every_picture_says_what_it_shows_and_follows_the_appearance(reported):
    page, _ = reported
    described = [value for tag, name, value in page.attributes if (tag, name) == ("div", "aria-label")]
    assert sum(len(text) > 30 for text in described) >= page.tags.count("svg")
    styles = " ".join(value for tag, name, value in page.attributes if name == "style")
    assert "var(--ink)" in styles and not re.findall(r"#[0-9a-f]{6}", styles) and "DejaVu" not in styles
    assert "prefers-color-scheme: dark" in page.html and "@media print" in page.html


def test_the_same_run_gives_the_same_bytes(reported, run, tmp_path):
    page, _ = reported
    again, _ = make(run, out=tmp_path / "again.html")
    assert again.html == page.html


def test_it_belongs_to_the_run(copied):
    from rdrop_cli.core.runs.finding import foreign

    _, written = make(copied)
    assert written.path == copied / layout.REPORT
    assert foreign(copied) == []


def test_no_model_is_loaded(run, tmp_path):
    out = tmp_path / "report.html"
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from rdrop_cli.core.report.build import write_report\n"
        f"write_report({str(run)!r}, out=Path({str(out)!r}), on_progress=lambda *_: None)\n"
        "print([name for name in ('torch', 'transformers', 'datasets') if name in sys.modules])"
    )
    assert run_python(code).stdout.strip() == "[]"


NEW = ("brier", "ece", "temperature")
"""Metrics that earlier versions did not record."""


def forget_calibration(run):
    card = run / layout.BEST / layout.CARD
    content = json.loads(card.read_text())
    content.pop("calibration", None)
    card.write_text(json.dumps(content))


def test_a_run_of_an_earlier_version_is_reported_with_what_it_has(copied):
    for name in (layout.PREDICTIONS["validation"], layout.COST):
        (copied / name).unlink()
    forget_calibration(copied)
    record = json.loads((copied / layout.DATA).read_text())
    record["prepared"] = str(copied / "moved")
    del record["sha256"]
    (copied / layout.DATA).write_text(with_checksum(record))
    metrics = json.loads((copied / layout.METRICS).read_text())
    for values in metrics.values():
        for name in [name for name in values if name in NEW or name.endswith("_calibrated")]:
            del values[name]
    (copied / layout.METRICS).write_text(json.dumps(metrics))
    page, written = make(copied)
    left_out = dict(written.left_out)
    assert set(left_out) == {
        "Calibration", "Abstaining and thresholds", "Short and long texts", "Most confident errors", "Data",
        "Settings and versions",
    }  # fmt: skip
    assert "validation-predictions.parquet" in left_out["Calibration"]
    assert "prepared data is no longer" in left_out["Most confident errors"]
    assert "Short and long texts" in page.headings() and "Short and long texts" not in written.sections
    found = load_predictions(copied)
    from rdrop_cli.core.metrics.calibration import brier_score

    assert f"{brier_score(found.labels, found.probabilities):.4f}" in page.text  # of no record


@pytest.mark.parametrize("damage", [b"", b"\x00\xff not what it was"])
def test_damaged_files_cost_their_sections_only(copied, damage):
    for name in (layout.PREDICTIONS["test"], layout.HISTORY, layout.DATA, layout.COST, layout.CONFIG):
        (copied / name).write_bytes(damage)
    page, written = make(copied)
    assert "At a glance" in written.sections and "Learning curves" not in written.sections
    reasons = dict(written.left_out)
    assert layout.HISTORY in reasons["Learning curves"]
    assert layout.PREDICTIONS["test"] in reasons["ROC and precision-recall"]
    assert page.tags.count("svg") == 1  # the thresholds, from validation


def test_what_was_never_predicted_is_no_reason_to_fail(copied):
    (copied / layout.HISTORY).write_text("step,epoch,loss\n1,0.5,\n")
    labels = np.zeros(60, dtype=np.int64)
    same = Predictions(labels, np.tile([0.9, 0.1], (60, 1)))
    save_outputs(copied, {"test": same, "validation": same}, {})
    _, written = make(copied)
    reasons = dict(written.left_out)
    assert "two classes" in reasons["ROC and precision-recall"]
    assert "No temperature was fitted" in reasons["Calibration"]


def test_hostile_texts_of_six_classes_stay_text(hostile):
    page, written = hostile
    assert written.left_out == []
    assert not {"script", "i", "b"} & set(page.tags)
    assert page.open == []
    assert '<script>alert(1)</script> </svg> &amp; "quoted"' in page.text
    assert "\u202e" not in page.html and "\x07" not in page.html and "U+202E" in page.text and "U+0007" in page.text
    assert any("<script>" in text for text in page.texts_of["text"])  # in a picture, as text
    quoted = page.texts_of["blockquote"]
    assert len(quoted) == 10 and all(text.startswith("<script>alert(1)</script>") for text in quoted)
    assert "<i>run&amp;" in page.texts_of["h1"][0]


def test_two_runs_are_put_side_by_side(run, copied):
    found = load_predictions(copied)
    mixed = Predictions(found.labels, 0.6 * found.probabilities + 0.2)
    save_outputs(copied, {"test": mixed, "validation": load_predictions(copied, "validation")}, {})
    page, written = make(run, against=str(copied), out=copied / "both.html")
    assert "A against B" in written.sections
    table = page.text.partition("Both runs on the same test examples")[2]
    assert "Brier" in table and "McNemar" in table


def test_runs_with_other_test_examples_are_not_compared(run, copied):
    found = load_predictions(copied)
    save_outputs(copied, {"test": Predictions(1 - found.labels, found.probabilities)}, {})
    with pytest.raises(CheckpointError, match="were tested on different examples"):
        make(run, against=str(copied), out=copied / "both.html")


def test_a_full_disk_keeps_the_old_report(copied, monkeypatch):
    (copied / layout.REPORT).write_text("the old one")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"report.html: cannot be written \(No space left on device\)"):
        make(copied)
    assert (copied / layout.REPORT).read_text() == "the old one"
    assert [path.name for path in copied.glob(".*.partial")] == []


def test_the_temperature_is_the_recorded_one_else_one_that_is_fitted(hostile, copied):
    page, _ = hostile
    assert "fitted for this report" in page.text and "NLL, calibrated" in page.text
    assert {"raw", "calibrated"} <= {text.strip() for text in page.texts_of["text"]}
    metrics = json.loads((copied / layout.METRICS).read_text())
    found = load_predictions(copied)
    expected = calibrated_metrics(found.labels, found.probabilities, 2.0)
    for values in metrics.values():
        values["temperature"] = 2.0
    metrics["test"] |= expected
    forget_calibration(copied)
    (copied / layout.METRICS).write_text(json.dumps(metrics))
    page, written = make(copied)
    assert written.left_out == [] and "2.000, recorded by the training" in page.text
    assert f"{expected['nll_calibrated']:.4f}" in page.text
    assert "Confidences, calibrated" in [" ".join(text.split()) for text in page.texts_of["figcaption"]]


@pytest.mark.parametrize("positive", [1, 0])
def test_the_threshold_of_the_run_is_marked_and_what_it_does_is_shown(copied, monkeypatch, positive):
    labels = np.arange(20) % 2
    scores = np.linspace(0.6, 0.9, 20)
    found = Predictions(labels, np.stack([1 - scores, scores], axis=1))
    save_outputs(copied, {"test": found, "validation": found}, {})
    card = copied / layout.BEST / layout.CARD
    content = json.loads(card.read_text())
    value = 0.7 if positive == 1 else 0.3
    threshold = {"value": value, "label": content["labels"][positive], "rule": "f1", "split": "validation"}
    card.write_text(json.dumps({**content, "threshold": threshold}))
    forget_calibration(copied)  # the threshold is one of raw probabilities; the temperature is for the report only
    monkeypatch.setattr(run_documents, "fit_temperature", lambda *_: Temperature(5.0))
    metrics = json.loads((copied / layout.METRICS).read_text())
    without = {split: {**values, "temperature": None} for split, values in metrics.items()}
    (copied / layout.METRICS).write_text(json.dumps(without))
    page, _ = make(copied)
    assert "The line is the run's threshold, 0.700" in page.text
    rows = page.text.partition("With the run's threshold, on test")[2]
    assert rows.partition("probable class")[2].split()[0] == "0.5000"  # always the same class
    accuracy = np.mean((scores >= 0.7) == (labels == 1))
    assert rows.partition("from 0.700 on")[2].split()[0] == f"{accuracy:.4f}" != "0.5000"


def test_a_threshold_that_cannot_be_read_is_not_shown(copied):
    card = copied / layout.BEST / layout.CARD
    card.write_text(json.dumps({**json.loads(card.read_text()), "threshold": {"value": 7}}))
    page, _ = make(copied)
    assert "The line is where F1 is highest" in page.text and "With the run's threshold" not in page.text
