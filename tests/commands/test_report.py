"""`rdrop report` on the command line."""

import json
from pathlib import Path

import pytest

from report_pages import Page


def test_the_newest_run_is_reported_beside_its_files(rdrop, trained):
    shown = rdrop("report").stdout
    path = Path(trained["run_dir"]) / "report.html"
    assert f"Report: {path} (" in shown
    assert Page(path.read_text(encoding="utf-8")).headings()[0] == "At a glance"
    assert "report.html" not in rdrop("runs", "rm", path.parent.name, "--yes").stderr
    assert not path.parent.exists()  # it belonged to the run


def test_json_says_where_it_is_what_it_has_and_what_it_lacks(rdrop, trained):
    (Path(trained["run_dir"]) / "history.csv").unlink()
    result = rdrop("report", Path(trained["run_dir"]).name, "--out", "deep/er/mine.html", "--json", "--quiet")
    document = json.loads(result.stdout)
    assert result.stderr == ""
    assert document["report"] == "deep/er/mine.html" and document["bytes"] == Path("deep/er/mine.html").stat().st_size
    assert "Calibration" in document["sections"] and "Learning curves" not in document["sections"]
    reasons = {each["section"]: each["reason"] for each in document["left_out"]}
    assert "history.csv: file not found" in reasons["Learning curves"]


def test_training_and_comparing_end_with_the_command(rdrop, reviews, tiny_args):
    lines = rdrop("train", reviews, *tiny_args, "--epochs", "1", "--out", "a run").stdout.splitlines()
    assert "Next: rdrop report './a run'" in lines
    assert rdrop("report", "./a run").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such run in runs"),
        (["."], ".: is not a run"),
        ([], "no finished run found in runs/"),
        (["runs/begun"], "has not finished, so there is nothing to report. Resume with: rdrop train --resume --out "),
    ],
)  # fmt: skip
def test_what_cannot_be_reported_is_an_error_in_one_line(rdrop, trained, arguments, message):
    run = Path(trained["run_dir"]).rename("runs/begun")
    (run / "metrics.json").unlink()
    assert message in rdrop.error("report", *arguments)


def test_a_folder_is_no_file_to_write_to(rdrop, trained):
    assert "runs: is a folder. Name a file: --out runs/report.html" in rdrop.error("report", "--out", "runs")


def test_without_its_packages_it_says_what_to_install(rdrop, trained, monkeypatch):
    monkeypatch.setattr("rdrop_cli.core.storage.extras.find_spec", lambda name: None)
    said = rdrop.error("report")
    assert "jinja2 and matplotlib are not installed" in said and "rdrop-cli[report]" in said
    assert not (Path(trained["run_dir"]) / "report.html").exists()
