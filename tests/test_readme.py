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
    section = " ".join(pages.README.read_text(encoding="utf-8").split("## Does it help?")[1].split())
    comparisons = pages.ROOT / "benchmarks" / "results" / "comparisons"
    everything = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in comparisons.glob("*.json")}
    kept = everything["rivals-rotten-tomatoes-1000"]
    gaps = {(gap["arm"], gap["metric"]): gap for gap in kept["differences"]}
    plain = kept["arms"]["plain"]["metrics"]
    alone, both, smoothing = (gaps[arm, "nll"] for arm in ("rdrop", "rdrop+smoothing", "smoothing"))
    by_temperature = plain["nll"]["mean"] - plain["nll_calibrated"]["mean"]

    f1 = gaps["rdrop", "f1"]
    low, high = f1["interval_seeds"]
    lower = f"R-Drop scored {-f1['difference']:.3f} lower on 1,000 sentences"
    assert f"{lower} ({low:.3f} to {high:.3f}; p {f1['p_holm']:.2f})" in section
    mpnet = everything["mpnet-500"]
    of_mpnet = {(gap["arm"], gap["metric"]): gap for gap in mpnet["differences"]}
    f1, nll = of_mpnet["rdrop-tuned", "f1"], of_mpnet["rdrop-tuned", "nll"]
    low, high = f1["interval_seeds"]
    assert (
        f"{-f1['difference']:.3f} lower with MPNet on 500 ({low:+.3f} to {high:+.3f}; p {f1['p_holm']:.2f})" in section
    )
    assert f"its NLL rather rises, by {nll['difference']:.2f} (p {nll['p_holm']:.3f})" in section
    needed = mpnet["arms"]["plain"]["metrics"]["temperature"]["mean"]
    assert f"MPNet needs {needed:.1f}, and" in section
    assert f"it needs a temperature of {plain['temperature']['mean']:.1f}, alpha 5" in section
    assert f"alpha 5 lowers the test NLL by {-alone['difference']:.2f} nats (p {alone['p_holm']:.3f})" in section
    assert f"with label smoothing by {-both['difference']:.2f} (p {both['p_holm']:.3f})" in section
    assert f"lowers it by {by_temperature:.2f} at no cost" in section
    assert f"label smoothing by {-smoothing['difference']:.2f} in half the passes" in section
    for arm in ("two-pass", "ema", "r3f"):
        assert min(gaps[arm, metric]["p_holm"] for metric in ("f1", "nll", "nll_calibrated")) > 0.05
    shown = [
        (gap["arm"], gap["metric"])
        for each in everything.values()
        for gap in each["differences"]
        if gap["metric"] in ("f1", "nll_calibrated") and gap["p_holm"] < 0.05
    ]
    assert shown == [], "neither F1 nor, with a temperature for each, NLL is shown to differ"
    elsewhere = [
        gap["p_holm"]
        for name in ("imdb-1000", "rotten-tomatoes", "trec6-1000", "mrpc-1000")
        for gap in everything[name]["differences"]
        if gap["metric"] == "nll" and gap["arm"].startswith("rdrop")
    ]
    assert min(elsewhere) > 0.05
    number = ("six", "seven", "eight", "nine", "ten")[len(everything) - 6]
    assert f"From {number} [comparisons](docs/results.md)" in section
