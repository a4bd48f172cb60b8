"""The README is short, and what it shows is so."""

import json
import os
from pathlib import Path

import pytest

import pages
from conftest import tiny_options


def test_it_is_a_front_page():
    content = pages.README.read_bytes()
    assert len(content.splitlines()) <= 150
    assert len(content) <= 9 * 1024


def test_its_commands_run(rdrop, reviews, tiny_args, tiny_model):
    """Each as it is written, with options behind it that make it small."""
    small = {
        "train": [*tiny_args, "--epochs", "1", "--train-examples", "100"],
        "compare": [*tiny_options(tiny_model), "--epochs", "1", "--seeds", "2"],
    }
    run = set()
    for name, *args in pages.commands_in(pages.README):
        if args == [] and name in {*small, "sweep", "push"}:
            continue  # a command's name alone
        made = sorted(Path("runs").glob("*"), key=os.path.getmtime)
        given = [str(made[-1]) if argument == "runs/NAME" else argument for argument in args]
        rdrop(name, *given, *small.get(name, []))
        run.add(name)
    assert run >= {"train", "predict", "evaluate", "compare", "report", "runs", "doctor", "config"}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_nothing_is_left_to_fill_in(page):
    assert "@@" not in page.read_text(encoding="utf-8")


def test_what_it_says_of_the_results_is_what_is_kept():
    text = " ".join(pages.README.read_text(encoding="utf-8").split())
    kept = json.loads((pages.ROOT / "benchmarks/results/comparisons/rotten-tomatoes-1000.json").read_text("utf-8"))
    gaps = {(gap["arm"], gap["metric"]): gap for gap in kept["differences"]}
    f1 = [
        bound
        for (arm, metric), gap in gaps.items()
        if metric == "f1" and "rdrop" in arm
        for bound in gap["interval_seeds"]
    ]
    nll, both = gaps["rdrop", "nll"], gaps["rdrop+smoothing", "nll"]

    assert f"{min(f1) * 100:+.1f} to {max(f1) * 100:+.1f} points of F1" in text
    assert f"by {-nll['difference']:.2f} nats (p {nll['p_holm']:.2g} after Holm's correction)" in text
    assert f"with label smoothing by {-both['difference']:.2f}" in text
    plain, left = kept["arms"]["plain"]["metrics"], gaps["rdrop", "nll_calibrated"]
    by_temperature = plain["nll"]["mean"] - plain["nll_calibrated"]["mean"]
    assert f"lowers plain fine-tuning's by {by_temperature:.2f}, and with a temperature for both" in text
    assert f"R-Drop's lead is {-left['difference']:.2f} (p {left['p_holm']:.2g})" in text
