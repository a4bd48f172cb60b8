"""`docs/results.md`, written from the comparisons that `evidence.py` kept: no figure in it is typed."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from rdrop_cli.core.comparison.summary import (
    calibration_table,
    differences_table,
    ensembles_table,
    has_calibration,
    means_table,
    verdict_list,
)
from rdrop_cli.core.metrics.classification import TITLES as METRICS

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "benchmarks" / "results" / "comparisons"
SEARCHED = ROOT / "benchmarks" / "results" / "searches"
ROBUSTNESS = ROOT / "benchmarks" / "results" / "robustness"
PAGE = ROOT / "docs" / "results.md"
IMAGES = ROOT / "docs" / "images"
_WRITTEN_DOWN = {
    "rotten-tomatoes-1000": "Rotten Tomatoes, 1,000 sentences",
    "rotten-tomatoes-1000-compute": "The same, with twice the epochs for arms of one pass",
    "imdb-1000": "IMDb, 1,000 reviews of up to 256 tokens",
    "rotten-tomatoes": "Rotten Tomatoes, all sentences",
    "rivals-rotten-tomatoes-1000": "R-Drop and its rivals, Rotten Tomatoes, 1,000 sentences, ten seeds",
    "trec6-1000": "TREC-6, 1,000 questions of six classes",
    "mrpc-1000": "MRPC, 1,000 pairs of sentences",
}
TITLES = {name: title for name, title in _WRITTEN_DOWN.items() if (KEPT / f"{name}.json").is_file()}
"""Those that have been trained to the end."""
_INTRODUCTION = """\
# Results

<!-- Written by `python benchmarks/evidence.py --show`; change benchmarks/results_page.py instead. -->

Comparisons with the built-in encoder (22.7 M parameters) on two CPU cores in bfloat16, as
[`rdrop compare`](comparing.md) made them. The commands are the whole recipe; `python benchmarks/evidence.py` runs all
(what is done is not run again) and writes this page.
"""
_LIMITS = """\
## What has not been shown

* The reference recipe, roberta-base on all of IMDb with alpha 5, needs a GPU and has not been run here. Its author
  reports F1 +1.2 and ROC-AUC +0.8 points over plain fine-tuning.
* One encoder, one language, short texts for the most part.
* What a temperature leaves is known for 1,000 examples only: the runs with IMDb and with all sentences kept no
  predictions for validation.
* Times are medians on a machine that was also doing other work, most of it while the arms with twice the epochs were
  trained: in an earlier training on the same machine they took 76 s (plain-2x) and 83 s (smoothing-2x). Where runs were
  trained side by side, there are none.
"""


def load_kept(name: str) -> dict[str, Any]:
    """The document of a kept comparison."""
    kept: dict[str, Any] = json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))
    return kept


def make_page() -> str:
    """The whole page."""
    sections = "\n\n".join(make_section(name) for name in TITLES)
    parts = [_what_a_temperature_leaves(), _in_short(), sections, *_searches(), _choice_of_alpha(), _LIMITS]
    return f"{_INTRODUCTION}\n" + "\n\n".join(parts)


def make_section(name: str) -> str:
    """What the page shows of one comparison."""
    kept = load_kept(name)
    splits, seeds = kept["data"]["splits"], len(kept["seeds"])
    return "\n\n".join(
        [
            f"## {TITLES[name]}",
            f"{splits['train']:,} examples to train on, {splits['validation']:,} to validate,"
            f" {splits['test']:,} to test; {seeds} seeds. Test metrics, mean ± standard deviation over the seeds:",
            f"```bash\n{kept['command']}\n```",
            means_table(kept),
            *_calibration(kept),
            *_robustness(name),
            verdict_list(kept),
            f"![{TITLES[name]}: each seed a point, each arm a strip, with intervals](images/{name}.png)",
            f'<details markdown="1"><summary>All differences to {kept["baseline"]}</summary>',
            differences_table(kept),
            "</details>",
        ]
    )


def _robustness(name: str) -> list[str]:
    """What the comparison's models lose on changed test sentences and on another domain, if that was measured."""
    path = ROBUSTNESS / f"{name}.json"
    if not path.is_file():
        return []
    kept = json.loads(path.read_text(encoding="utf-8"))
    entries = {(entry["condition"], entry["arm"]): entry for entry in kept["summary"]}
    arms = list(dict.fromkeys(arm for _, arm in entries))
    conditions = list(dict.fromkeys(condition for condition, _ in entries))
    changed = {row["condition"]: row["changed"] for row in kept["runs"] if row["changed"] is not None}
    titles = [f"{each} ({changed[each]:,} changed)" if each in changed else each for each in conditions]
    lines = [f"| arm | {' | '.join(titles)} |", f"| --- |{' ---: |' * len(conditions)}"]
    lines += [
        f"| {arm} | "
        + " | ".join("{mean:.4f} ± {sd:.4f}".format(**entries[condition, arm]["f1"]) for condition in conditions)
        + " |"
        for arm in arms
    ]
    tested = [entry["f1"] for entry in kept["summary"] if entry["f1"].get("p_holm") is not None]
    least = min(gap["p_holm"] for gap in tested)
    clear = [
        f"{entry['arm']} under {entry['condition']}: {entry['f1']['change']:+.4f}"
        f" ({entry['f1']['low']:+.4f} to {entry['f1']['high']:+.4f}, p {entry['f1']['p_holm']:.2g})"
        for entry in kept["summary"]
        if entry["f1"].get("p_holm") is not None and entry["f1"]["p_holm"] < 0.05
    ]
    verdict = (
        f"Against {arms[0]}, after Holm's correction over {len(tested)} tests, these lose more or less F1:"
        f" {'; '.join(clear)}."
        if clear
        else f"Against {arms[0]}, no arm loses more or less F1 than chance explains (p at least {least:.2g} after"
        f" Holm's correction over {len(tested)} tests)."
    )
    seeds = sorted({row["seed"] for row in kept["runs"]})
    untouched = [
        condition
        for condition in conditions[1:]
        if all(entries[condition, arm]["nll"]["mean"] == entries[conditions[0], arm]["nll"]["mean"] for arm in arms)
    ]
    blind = f" The tokenizer removes what {' and '.join(untouched)} changes." if untouched else ""
    return [
        f"F1 of the same models, seeds {seeds[0]} to {seeds[-1]}, on test sentences with a changed wording and on"
        f" another domain (`{kept['command']}`). {verdict}{blind}",
        "\n".join(lines),
    ]


def _calibration(kept: dict[str, Any]) -> list[str]:
    if not has_calibration(kept):
        return ["These runs kept no predictions for validation, so no temperature can be fitted for them."]
    return [
        "Calibrated means after one temperature for each run, fitted on its validation split; the ensembles average the"
        " raw probabilities of an arm's seeds, and have one temperature each:",
        calibration_table(kept),
        ensembles_table(kept),
    ]


def _what_a_temperature_leaves() -> str:
    """The gain in NLL of each arm with R-Drop and of smoothing, raw and calibrated, where both are known."""
    sentences, shares = [], []
    lines = ["| comparison | arm | NLL | after a temperature each |", "| --- | --- | --- | --- |"]
    is_shown = False
    for name, title in TITLES.items():
        kept = load_kept(name)
        if not has_calibration(kept):
            continue
        gaps = {(gap["arm"], gap["metric"]): gap for gap in kept["differences"]}
        baseline = kept["arms"][kept["baseline"]]["metrics"]
        by_temperature = baseline["nll"]["mean"] - baseline["nll_calibrated"]["mean"]
        arm = next(arm for arm in kept["arms"] if arm.startswith("rdrop"))
        alpha = kept["arms"][arm]["settings"]["rdrop.alpha"]
        by_rdrop = baseline["nll"]["mean"] - kept["arms"][arm]["metrics"]["nll"]["mean"]
        if by_rdrop > 0:
            shares.append(by_temperature / by_rdrop)
            gain = f"lowers it by {by_rdrop:.3f}, a temperature"
        else:
            gain = f"raises it by {-by_rdrop:.3f}, a temperature lowers it"
        sentences.append(
            f"* {title}: the test NLL of {kept['baseline']} is {baseline['nll']['mean']:.3f}."
            f" R-Drop (alpha {alpha:g}) {gain} by {by_temperature:.3f}."
        )
        for arm in list(kept["arms"])[1:]:
            raw, calibrated = gaps[arm, "nll"], gaps[arm, "nll_calibrated"]
            lines.append(f"| {title} | {arm} | {_change(raw)} | {_change(calibrated)} |")
            is_shown |= calibrated["p_holm"] < 0.05
    answer = "Some" if is_shown else "None"
    least = math.floor(100 * min(shares))
    return "\n".join(
        [
            f"**Where R-Drop lowers the NLL, a temperature gives plain fine-tuning at least {least} % of that,"
            " at no cost in training.** It is one number for each run, by which all logits are divided,"
            " fitted on validation in a fraction of a second:",
            "",
            *sentences,
            "",
            f"{answer} of the differences in NLL can be shown when every arm has a temperature (differences to plain in"
            " nats, p after Holm's correction):",
            "",
            *lines,
        ]
    )


def _change(gap: dict[str, Any]) -> str:
    return f"{gap['difference']:+.3f} (p {gap['p_holm']:.2g})"


def _in_short() -> str:
    """The answer in a few lines, from the intervals over seeds of the arms with R-Drop."""
    lines = [
        "**In short**, for the arms with R-Drop against the plain one (95 % intervals over seeds, p after Holm):",
        "",
    ]
    lines += ["| comparison | F1 | NLL in nats |", "| --- | --- | --- |"]
    for name, title in TITLES.items():
        gaps = [gap for gap in load_kept(name)["differences"] if gap["arm"].startswith("rdrop")]
        f1, nll = ([gap for gap in gaps if gap["metric"] == metric] for metric in ("f1", "nll"))
        lows, highs = zip(*(gap["interval_seeds"] for gap in f1), strict=True)
        shown = (
            f"{min(lows) * 100:+.1f} to {max(highs) * 100:+.1f} points, p at least {min(g['p_holm'] for g in f1):.2g}"
        )
        nlls = "; ".join(f"{gap['arm']} {gap['difference']:+.2f} (p {gap['p_holm']:.2g})" for gap in nll)
        lines.append(f"| {title} | {shown} | {nlls} |")
    shown_f1 = any(
        gap["p_holm"] < 0.05 and gap["difference"] > 0
        for name in TITLES
        for gap in load_kept(name)["differences"]
        if gap["metric"] == "f1"
    )
    answer = "At least one" if shown_f1 else "None"
    on_mrpc = load_kept("mrpc-1000")["arms"]
    roc_aucs = [arm["metrics"]["roc_auc"]["mean"] for arm in on_mrpc.values()]
    return "\n".join(
        [
            *lines,
            "",
            f"{answer} of these comparisons shows that an arm classifies more test examples correctly. What R-Drop"
            " does on few sentences of reviews is make the model less confident in its wrong answers, which the NLL"
            " measures; label smoothing alone does much of that in two thirds of the time. On TREC-6, where plain"
            " fine-tuning is not confident enough (its temperatures are below 1), no arm is shown to lower the NLL."
            f" From 1,000 pairs of MRPC the encoder learns little with any arm (ROC-AUC {min(roc_aucs):.2f} to"
            f" {max(roc_aucs):.2f}).",
        ]
    )


def _searches() -> list[str]:
    """The settings that were searched for on validation before a comparison, if any were."""
    sections = []
    for path in sorted(SEARCHED.glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        for search in kept["searches"].values():
            keys = list(search["space"])
            lines = [
                f"| {' | '.join(keys)} | validation {METRICS[kept['metric']]} |",
                f"|{' ---: |' * (len(keys) + 1)}",
            ]
            for trial in search["trials"]:
                values = " | ".join(f"{trial['values'][key]:.3g}" for key in keys)
                score = f"{trial['mean']:.4f} ± {trial['sd']:.4f}"
                chosen = trial["number"] == search["best"]
                lines.append(f"| {values} | {f'**{score}**' if chosen else score} |")
            seeds = " and ".join(str(seed) for seed in kept["seeds"])
            sections.append(f"```bash\n{kept['command']}\n```\n\nSeeds {seeds}:\n\n" + "\n".join(lines))
    if not sections:
        return []
    before = (
        "Some comparisons have settings that were searched for on validation before, with seeds that no comparison"
        " has: those with the best mean, in bold. Mean ± standard deviation over the seeds."
    )
    return ["\n\n".join(["## Searches", before, *sections])]


def _choice_of_alpha() -> str:
    """What the starter's alpha and smoothing rest on: validation, never test."""
    runs, alphas = _validation("rotten-tomatoes", "f1")
    _, of_rivals = _validation("rivals-rotten-tomatoes-1000", "f1")
    _, nll_of_rivals = _validation("rivals-rotten-tomatoes-1000", "nll")
    best = max(of_rivals, key=of_rivals.__getitem__), min(nll_of_rivals, key=nll_of_rivals.__getitem__)
    if set(best) != {"rdrop+smoothing"}:
        raise ValueError(f"validation now prefers {' and '.join(best)}: reconsider the recipe, then this paragraph")
    shown = ", ".join(f"{mean:.4f} for {arm}" for arm, mean in alphas.items())
    return (
        "## The starter's alpha\n\n"
        "It is chosen on validation, never on test. With all sentences, the mean validation F1 of the same"
        f" {runs} runs is {shown}. Three seeds do not tell the alphas apart, so the reference recipe's alpha 5"
        " stays. Of the rivals with ten seeds, R-Drop with smoothing has the best mean validation F1"
        f" ({of_rivals['rdrop+smoothing']:.4f}; plain {of_rivals['plain']:.4f}) and the lowest NLL"
        f" ({nll_of_rivals['rdrop+smoothing']:.4f}; plain {nll_of_rivals['plain']:.4f}), so the recipe keeps both."
    )


def _validation(name: str, metric: str) -> tuple[int, dict[str, float]]:
    """The number of a comparison's runs, and the mean of a validation metric by arm."""
    with (KEPT / f"{name}.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    arms = dict.fromkeys(row["arm"] for row in rows)
    means = {
        arm: float(np.mean([float(row[f"validation_{metric}"]) for row in rows if row["arm"] == arm])) for arm in arms
    }
    return len(rows), means
