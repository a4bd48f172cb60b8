"""The report of a comparison."""

import json
import shutil

import pytest

from rdrop_cli.core.report.build import write_report
from rdrop_cli.errors import CheckpointError, ConfigError
from report_cases import nothing
from report_pages import Page


def test_it_shows_verdict_seeds_differences_and_cost(compared, comparison):
    page, written = compared
    sections = [title for title in written.sections if title != "Ensembles"]
    assert sections == ["Verdict", "Every seed", "Differences to plain", "Cost and course", "Settings and runs"]
    document = json.loads((comparison / "results.json").read_text())
    assert all(" ".join(sentence.split()) in page.text for sentence in document["verdict"])
    assert page.tags.count("svg") >= 4 + 4 + 2
    gap = document["differences"][0]
    assert f"{gap['difference']:+.4f}".replace("-", "−") in page.text


def test_the_page_asks_for_nothing_and_has_unique_names(compared):
    page, _ = compared
    assert "http" not in page.html.replace("http-equiv", "")
    assert len(page.ids()) == len(set(page.ids()))
    assert not {"script", "link", "img", "iframe"} & set(page.tags)


def test_its_command_is_that_of_the_comparison(compared):
    page, _ = compared
    command = next(text for text in page.texts_of["pre"])
    assert command.startswith("rdrop compare") and "--arms plain,smoothing,rdrop,rdrop+smoothing" in command
    assert "--seeds 5 --seed 42" in command


def test_without_its_runs_it_says_what_is_missing(comparison, tmp_path):
    folder = tmp_path / "comparison"
    folder.mkdir()
    shutil.copy(comparison / "results.json", folder)
    written = write_report(str(folder), on_progress=nothing)
    assert [title for title, _ in written.left_out] == ["Cost and course", "Settings and runs"]
    assert written.path == folder / "report.html"


def test_what_later_versions_add_is_shown(comparison, tmp_path):
    folder = tmp_path / "comparison"
    folder.mkdir()
    document = json.loads((comparison / "results.json").read_text())
    added = ("brier", "ece", "nll_calibrated", "brier_calibrated", "ece_calibrated", "temperature")
    for arm in document["arms"].values():
        arm["metrics"] |= {
            name: {"n": 5, "mean": None if name == "temperature" else 0.4321, "sd": 0.01} for name in added
        }
    calibrated = []
    for gap in document["differences"]:
        if gap["metric"] == "nll":
            calibrated.append({**gap, "metric": "nll_calibrated", "difference": -0.0123})
    document["differences"] += calibrated
    for cell in document["cells"]:
        cell["metrics"]["test"] |= {"brier": 0.3, "ece": 0.1}
        cell["calibrated"] = {"nll_calibrated": 0.45}
    document["ensembles"] = {"plain": {"accuracy": 0.8765, "nll": 0.4}}
    (folder / "results.json").write_text(json.dumps(document))
    (folder / "results-compute.json").write_text(json.dumps({**document, "budget": "compute"}))
    written = write_report(str(folder), on_progress=nothing)
    page = Page(written.path.read_text(encoding="utf-8"))
    assert "Ensembles (the same steps)" in written.sections
    assert "0.8765" in page.text and "−0.0123" in page.text
    assert len(page.ids()) == len(set(page.ids()))
    captions = [" ".join(text.split()) for text in page.texts_of["figcaption"]]
    assert {"NLL, calibrated", "Brier", "ECE"} <= set(captions)
    assert "0.4321" in page.text


@pytest.mark.parametrize("content", ["{", "[]", '{"arms": {}}', '{"arms": {"a": 1}, "cells": 2}'])
def test_damaged_results_are_an_error_in_one_line(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(CheckpointError) as caught:
        write_report(str(tmp_path), on_progress=nothing)
    assert "results.json" in str(caught.value) and "\n" not in str(caught.value)


def test_an_unfinished_comparison_and_a_second_run_are_errors(comparison, tmp_path, run):
    folder = tmp_path / "begun"
    shutil.copytree(run, folder / "plain" / "seed42", ignore=shutil.ignore_patterns("checkpoints", "*.safetensors"))
    with pytest.raises(CheckpointError, match="has no results yet"):
        write_report(str(folder), on_progress=nothing)
    with pytest.raises(ConfigError, match="is a comparison"):
        write_report(str(comparison), against=str(run), on_progress=nothing)
