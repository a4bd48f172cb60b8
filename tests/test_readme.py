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

    def difference(gap):
        low, high = gap["interval_seeds"]
        return f"({low:+.3f} to {high:+.3f}; p {gap['p_holm']:.2f})"

    f1 = gaps["rdrop", "f1"]
    assert f"R-Drop's is {-f1['difference']:.3f} lower on 1,000 sentences {difference(f1)}" in section
    mpnet, most = (
        {(gap["arm"], gap["metric"]): gap for gap in everything[name]["differences"]}
        for name in ("mpnet-500", "rotten-tomatoes")
    )
    f1, nll = mpnet["rdrop-tuned", "f1"], mpnet["rdrop-tuned", "nll"]
    assert f"{-f1['difference']:.3f} lower with MPNet on 500, both tuned {difference(f1)}" in section
    needed = everything["mpnet-500"]["arms"]["plain"]["metrics"]["temperature"]["mean"]
    higher = f"{nll['difference']:.2f} higher (p {nll['p_holm']:.3f})"
    assert f"with MPNet, which needs {needed:.1f}, it is {higher}" in section
    gaps_of = everything["mpnet-500-compute"]["differences"]
    f1 = next(gap for gap in gaps_of if (gap["arm"], gap["metric"]) == ("rdrop-tuned", "f1"))
    assert abs(f1["difference"]) < 0.001 and f"at equal compute the same {difference(f1)}" in section
    f1, nll = most["rdrop+smoothing", "f1"], most["rdrop+smoothing", "nll"]
    assert f"with label smoothing, {f1['difference']:.3f} higher {difference(f1)}" in section
    assert f"on all sentences {-nll['difference']:.2f} lower (p {nll['p_holm']:.2f})" in section

    assert f"plain fine-tuning needs a temperature of {plain['temperature']['mean']:.1f}, alpha 5" in section
    assert f"lowers the test NLL by {-alone['difference']:.2f} (p {alone['p_holm']:.3f})" in section
    assert f"with label smoothing by {-both['difference']:.2f} (p {both['p_holm']:.3f})" in section
    assert f"lowers it by {by_temperature:.2f} at no cost in training" in section
    assert f"label smoothing by {-smoothing['difference']:.2f} in half the passes" in section
    left = gaps["rdrop", "nll_calibrated"]
    low, high = (-bound for bound in reversed(left["interval_seeds"]))
    assert f"R-Drop's lead is {-left['difference']:.3f} ({low:.3f} to {high:+.3f})" in section
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
        for name in ("imdb-1000", "rotten-tomatoes", "trec6-1000", "mrpc-1000", "mpnet-500")
        for gap in everything[name]["differences"]
        if gap["metric"] == "nll"
    ]
    assert min(elsewhere) > 0.05
    number = ("six", "seven", "eight", "nine", "ten")[len(everything) - 6]
    assert f"From {number} [comparisons](docs/results.md) of three to ten paired seeds" in section
    assert {3, 10} == {len(each["seeds"]) for each in everything.values()} - {5}
    alike = sum(each["data"]["source"] == kept["data"]["source"] for each in everything.values())
    assert f"{('four', 'five', 'six', 'seven')[alike - 4]} of them on Rotten Tomatoes" in section

    results = " ".join((pages.ROOT / "docs" / "results.md").read_text(encoding="utf-8").split())
    for of_page, of_section in (
        (
            "rdrop-tuned minus plain is +0.024 (+0.014 to +0.035,",
            "F1 is 0.024 higher with R-Drop (+0.014 to +0.035, ten",
        ),
        ("rdrop-tuned under imdb, +0.032 (+0.006 to +0.058, p 0.028, corrected 0.056)", "has p 0.056;"),
        ("rdrop under imdb, +0.023 (-0.040 to +0.086, p 0.37, corrected 0.37)", "the built-in encoder's 0.37."),
    ):
        assert of_page in results and of_section in section
