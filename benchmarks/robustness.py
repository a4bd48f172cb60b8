"""The models of a comparison on changed test sentences, and on another domain.

    python benchmarks/robustness.py comparisons/NAME --arms plain,rdrop --seeds 5 --other imdb --save NAME

Every finished run predicts the test split as it is, with typing errors, in another case, with negations contracted or
written out (the changes are the same for all runs, and leave the labels alone), and 500 test examples of another data
set. Arms are compared with the first by their loss against the unchanged test split: paired over seeds, with Holm's
correction over all arms and conditions.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import machine
import numpy as np
from perturbations import PERTURBATIONS, perturbed
from rich.console import Console
from rich.table import Table

from rdrop_cli import load
from rdrop_cli.config import load_config
from rdrop_cli.core.data.prepare import prepare_data
from rdrop_cli.core.metrics.classification import classification_metrics
from rdrop_cli.core.metrics.significance import holm, paired_t
from rdrop_cli.core.runs.finding import recorded_config

KEPT = machine.RESULTS / "robustness"
METRICS = ("accuracy", "f1", "roc_auc", "nll")
SEED, OTHERS = 42, 500


def conditions(run: Path, other: str | None, *, unchanged: bool) -> dict[str, tuple[list[str], np.ndarray]]:
    """The texts and labels that every run predicts, by name; the first is the unchanged test split.

    Args:
        other: Another data set, if any.
        unchanged: Leave out the changed test sentences.
    """
    test = prepare_data(recorded_config(run)).split("test")
    found = {"test": (test.texts, test.labels)}
    for kind in () if unchanged else PERTURBATIONS:
        found[kind] = (perturbed(test.texts, kind, SEED), test.labels)
    if other is not None:
        split = prepare_data(load_config("starter", [("data.source", other)])).split("test")
        drawn = np.random.default_rng(SEED).permutation(len(split))[:OTHERS]
        found[other] = ([split.texts[index] for index in drawn], split.labels[drawn])
    return found


def finished(arm: Path, seeds: range) -> list[Path]:
    """An arm's finished runs with these seeds."""
    return [arm / f"seed{seed}" for seed in seeds if (arm / f"seed{seed}/metrics.json").is_file()]


def parse_seeds(text: str) -> range:
    """`5` is 1 to 5, and `6-10` what it says."""
    first, _, last = text.rpartition("-")
    return range(int(first or 1), int(last) + 1)


def measure(run: Path, texts: dict[str, tuple[list[str], np.ndarray]]) -> list[dict[str, Any]]:
    """The metrics of a run's model under each condition; probabilities are at its temperature."""
    classifier = load(run)
    distinct = list(dict.fromkeys(text for given, _ in texts.values() for text in given))
    predictions = dict(zip(distinct, classifier.predict(distinct), strict=True))
    rows = []
    for condition, (given, labels) in texts.items():
        changed = sum(text != before for text, before in zip(given, texts["test"][0], strict=False))
        scores = np.array([[predictions[text].probabilities[name] for name in classifier.labels] for text in given])
        metrics = classification_metrics(labels, scores)
        rows.append(
            {
                "arm": run.parent.name,
                "seed": int(run.name.removeprefix("seed")),
                "condition": condition,
                "examples": len(given),
                "changed": None if condition not in PERTURBATIONS else changed,
                **{name: metrics[name] for name in METRICS},
            }
        )
    return rows


def summarize(rows: list[dict[str, Any]], arms: list[str]) -> list[dict[str, Any]]:
    """For each arm and condition: mean and sd over seeds, and how its change against test differs from the first arm's.

    A metric's change is its value under the condition minus that on the unchanged test split, seed by seed.
    """
    values = {(row["arm"], row["seed"], row["condition"]): row for row in rows}
    seeds = sorted({row["seed"] for row in rows})

    def of(arm: str, condition: str, metric: str) -> np.ndarray:
        return np.array([values[arm, seed, condition][metric] for seed in seeds])

    summary: list[dict[str, Any]] = []
    for condition in dict.fromkeys(row["condition"] for row in rows):
        for arm in arms:
            entry: dict[str, Any] = {"arm": arm, "condition": condition}
            for metric in METRICS:
                found = of(arm, condition, metric)
                entry[metric] = {"mean": float(found.mean()), "sd": float(found.std(ddof=1))}
                if condition == "test" or arm == arms[0]:
                    continue
                changes, first = (of(each, condition, metric) - of(each, "test", metric) for each in (arm, arms[0]))
                test = paired_t(changes - first)
                entry[metric] |= {"change": test.mean, "low": test.low, "high": test.high, "p": test.p_value}
            summary.append(entry)
    for metric in METRICS:
        tested = [entry[metric] for entry in summary if "p" in entry[metric]]
        for each, p_holm in zip(tested, holm([entry["p"] for entry in tested]), strict=True):
            each["p_holm"] = p_holm
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path, help="The folder of a comparison whose runs are there.")
    parser.add_argument("--arms", required=True, help="Those to measure, the first one the baseline; with commas.")
    parser.add_argument("--seeds", type=parse_seeds, required=True, metavar="N", help="Seeds 1 to N; or FIRST-LAST.")
    parser.add_argument("--other", help="Another data set with the same classes.")
    parser.add_argument("--unchanged", action="store_true", help="Leave out the changed test sentences.")
    parser.add_argument("--save", metavar="NAME", help="Keep the results in benchmarks/results/robustness/.")
    args = parser.parse_args()
    arms = args.arms.split(",")
    runs = [run for arm in arms for run in finished(args.comparison / arm, args.seeds)]
    texts = conditions(runs[0], args.other, unchanged=args.unchanged)
    console = Console()
    rows: list[dict[str, Any]] = []
    for number, run in enumerate(runs, start=1):
        rows += measure(run, texts)
        console.print(f"{number}/{len(runs)} {run}", markup=False, highlight=False)
    summary = summarize(rows, arms)
    table = Table("condition", "arm", *METRICS)
    for entry in summary:
        cells = [f"{entry[name]['mean']:.4f} ± {entry[name]['sd']:.4f}" for name in METRICS]
        table.add_row(entry["condition"], entry["arm"], *cells)
    console.print(table)
    if args.save:
        KEPT.mkdir(parents=True, exist_ok=True)
        command = " ".join(["python benchmarks/robustness.py", *sys.argv[1:]])
        content = {"command": command, **machine.describe(), "summary": summary, "runs": rows}
        (KEPT / f"{args.save}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
